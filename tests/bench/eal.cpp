#include "eal.hpp"

#include <array>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include <dlfcn.h>

namespace cohort::bench {
namespace {

bool started = false;

template <typename Function>
void find(void* library, const char* name, Function& into)
{
    into = reinterpret_cast<Function>(::dlsym(library, name));
}

std::optional<eal_calls> load()
{
    auto* library = ::dlopen("librte_eal.so.23", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return std::nullopt;
    eal_calls calls{};
    find(library, "rte_eal_init", calls.init);
    find(library, "rte_eal_cleanup", calls.cleanup);
    find(library, "rte_malloc", calls.allocate);
    find(library, "rte_free", calls.release);
    find(library, "rte_malloc_get_socket_stats", calls.stats);
    return calls;
}

// struct rte_malloc_socket_stats, DPDK 22.11.
struct heap_stats {
    std::size_t total;
    std::size_t free;
    std::size_t greatest_free;
    unsigned free_count;
    unsigned alloc_count;
    std::size_t allocated;
    std::array<std::size_t, 8> spare;
};

std::vector<std::string> words_of(const eal_options& options)
{
    const bool first = options.as == role::primary;
    std::vector<std::string> words{
        "cohort_bench",
        "--no-pci",
        "--no-telemetry",
        "--log-level=1",
        "--file-prefix=" + options.prefix,
        first ? "--proc-type=primary" : "--proc-type=secondary",
        "--lcores",
        fmt::format("{}@{}", options.lcore.value_or(options.processor), options.processor)};
    if (options.single_file)
        words.emplace_back("--single-file-segments");
    if (first)
        words.insert(words.end(), {"--huge-dir", options.huge_directory});
    if (first && options.megabytes != 0)
        words.insert(words.end(), {"-m", fmt::format("{}", options.megabytes)});
    return words;
}

}  // namespace

const eal_calls* eal()
{
    static const auto loaded = load();
    return loaded ? &*loaded : nullptr;
}

bool start_eal(const eal_options& options)
{
    if (!eal())
        return false;
    auto words = words_of(options);
    std::vector<char*> arguments;
    for (auto& word : words)
        arguments.push_back(word.data());
    started = eal()->init(static_cast<int>(arguments.size()), arguments.data()) >= 0;
    return started;
}

eal_memory eal_heap()
{
    heap_stats stats{};
    if (!started || eal()->stats(0, &stats) != 0)
        return {};
    return {stats.total, stats.allocated};
}

}  // namespace cohort::bench
