#include "allocators.hpp"

#include "cohort/secondary/secondary.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include <dlfcn.h>

namespace cohort::bench {
namespace {

constexpr auto domain_name = "bench";

std::unique_ptr<primary::owner> owner;
std::unique_ptr<secondary::attachment> attachment;
std::unique_ptr<heap> ours;

template <typename Function>
Function symbol(void* library, const char* name)
{
    return reinterpret_cast<Function>(::dlsym(library, name));
}

void* load(std::initializer_list<const char*> names)
{
    for (const auto* name : names)
        if (auto* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL))
            return library;
    return nullptr;
}

// Of rte_malloc.h, ABI 23.
struct dpdk_calls {
    void* (*allocate)(const char* type, std::size_t bytes, unsigned alignment);
    void (*release)(void* block);
    int (*stats)(int node, void* into);
} dpdk;

// struct rte_malloc_socket_stats, DPDK 22.11: allocated bytes are its sixth field.
struct dpdk_heap_stats {
    std::size_t total;
    std::size_t free;
    std::size_t greatest_free;
    unsigned free_count;
    unsigned alloc_count;
    std::size_t allocated;
    std::array<std::size_t, 8> spare;
};

}  // namespace

allocator glibc_malloc()
{
    return {"glibc", std::malloc, std::free};
}

std::unique_ptr<allocator> mimalloc()
{
    auto* library = load({"libmimalloc.so.2.0", "libmimalloc.so.2", "libmimalloc.so"});
    if (!library)
        return nullptr;
    return std::make_unique<allocator>(
        allocator{"mimalloc", symbol<void* (*)(std::size_t)>(library, "mi_malloc"),
                  symbol<void (*)(void*)>(library, "mi_free")});
}

std::unique_ptr<allocator> dpdk_malloc(role as, std::size_t megabytes,
                                       const std::string& huge_directory)
{
    auto* library = load({"librte_eal.so.23"});
    if (!library)
        return nullptr;
    const auto memory = fmt::format("{}", megabytes);
    std::vector<std::string> words{"cohort_bench",
                                   "--no-pci",
                                   "--no-telemetry",
                                   "--log-level=1",
                                   "--file-prefix=cohort_bench",
                                   as == role::primary ? "--proc-type=primary"
                                                       : "--proc-type=secondary",
                                   "-l",
                                   as == role::primary ? "0" : "1"};
    if (as == role::primary)
        words.insert(words.end(), {"-m", memory, "--huge-dir", huge_directory});
    std::vector<char*> arguments;
    for (auto& word : words)
        arguments.push_back(word.data());
    const auto start = symbol<int (*)(int, char**)>(library, "rte_eal_init");
    if (start(static_cast<int>(arguments.size()), arguments.data()) < 0) {
        fmt::print(stderr, "DPDK is installed but does not start; its rows are left out\n");
        return nullptr;
    }
    dpdk.allocate = symbol<void* (*)(const char*, std::size_t, unsigned)>(library, "rte_malloc");
    dpdk.release = symbol<void (*)(void*)>(library, "rte_free");
    dpdk.stats = symbol<int (*)(int, void*)>(library, "rte_malloc_get_socket_stats");
    return std::make_unique<allocator>(
        allocator{"dpdk", [](std::size_t bytes) { return dpdk.allocate(nullptr, bytes, 0); },
                  [](void* block) { dpdk.release(block); }});
}

allocator cohort_malloc(role as, std::size_t megabytes)
{
    if (as == role::primary) {
        owner = primary::start({.name = domain_name, .memory = megabytes * 1_MiB});
        ours = std::make_unique<heap>(owner->heap());
    } else {
        attachment = secondary::attach(domain_name, std::chrono::seconds{10}, "bench");
        ours = std::make_unique<heap>(attachment->heap());
    }
    return {"ours", [](std::size_t bytes) { return ours->malloc(bytes); },
            [](void* block) { ours->free(block); }};
}

std::size_t dpdk_used_bytes()
{
    dpdk_heap_stats stats{};
    return dpdk.stats && dpdk.stats(0, &stats) == 0 ? stats.allocated : 0;
}

std::size_t cohort_used_bytes()
{
    return ours->layout().counters.used_bytes;
}

}  // namespace cohort::bench
