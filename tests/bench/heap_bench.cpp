// The heap beside rte_malloc, glibc's malloc and mimalloc: the same sequence of sizes for all.

#include "heap_bench.hpp"

#include "support/child_process.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <random>
#include <stdexcept>

namespace cohort::bench {
namespace {

constexpr std::size_t live_blocks = 4096;
constexpr std::size_t operations = 50'000;
constexpr std::size_t tail_operations = 1'000'000;

using clock = std::chrono::steady_clock;

double nanoseconds_since(clock::time_point start)
{
    return std::chrono::duration<double, std::nano>(clock::now() - start).count();
}

struct step {
    std::uint32_t place;
    std::uint32_t bytes;
};

const std::vector<step>& steps()
{
    static const auto made = [] {
        std::mt19937_64 random{1};
        std::vector<step> list(operations);
        for (auto& each : list)
            each = {static_cast<std::uint32_t>(random() % live_blocks),
                    static_cast<std::uint32_t>(16 + random() % 4001)};
        return list;
    }();
    return made;
}

void* block_of(const allocator& from, std::size_t bytes)
{
    auto* block = from.allocate(bytes);
    if (!block)
        throw std::runtime_error{from.name + " has no memory left"};
    *static_cast<char*>(block) = 1;
    return block;
}

/// Live blocks of random sizes, made before and freed after a measurement.
class population {
public:
    explicit population(const allocator& from) : from_{from}
    {
        std::mt19937_64 random{2};
        for (auto& block : blocks_)
            block = block_of(from_, 16 + random() % 4001);
    }
    ~population()
    {
        for (auto* block : blocks_)
            from_.release(block);
    }
    population(const population&) = delete;
    population& operator=(const population&) = delete;

    void replace(const step& each)
    {
        from_.release(blocks_[each.place]);
        blocks_[each.place] = block_of(from_, each.bytes);
    }

private:
    const allocator& from_;
    std::array<void*, live_blocks> blocks_{};
};

/// Nanoseconds of a free and a malloc.
double churn(const allocator& from)
{
    population blocks{from};
    const auto start = clock::now();
    for (const auto& each : steps())
        blocks.replace(each);
    return nanoseconds_since(start) / operations;
}

double pairs(const allocator& from, std::size_t bytes)
{
    const auto start = clock::now();
    for (std::size_t i = 0; i != operations; ++i)
        from.release(block_of(from, bytes));
    return nanoseconds_since(start) / operations;
}

double pairs_beside_others(const allocator& from, std::size_t bytes)
{
    const population others{from};
    return pairs(from, bytes);
}

/// The slowest of a thousand operations, or of all of them, in microseconds.
double tail(const allocator& from, bool worst)
{
    population blocks{from};
    std::vector<double> times;
    times.reserve(tail_operations);
    while (times.size() < tail_operations)
        for (const auto& each : steps()) {
            const auto start = clock::now();
            blocks.replace(each);
            times.push_back(nanoseconds_since(start) / 1000);
        }
    std::sort(times.begin(), times.end());
    return worst ? times.back() : times[times.size() - times.size() / 1000];
}

double overhead(const allocator& from, std::size_t (*used)())
{
    constexpr std::size_t count = 1000;
    std::vector<void*> blocks;
    const auto before = used();
    for (std::size_t i = 0; i != count; ++i)
        blocks.push_back(block_of(from, 64));
    const auto bytes = used() - before;
    for (auto* block : blocks)
        from.release(block);
    return static_cast<double>(bytes) / count - 64;
}

/// Churns in another process meanwhile.
class competitor {
public:
    explicit competitor(const std::string& allocator)
        : child_{test::child_process::spawn("cohort_bench", {"--compete", allocator})}
    {
        child_.await("ready", std::chrono::seconds{30});
    }
    double churn_against(const allocator& from)
    {
        child_.tell("go");
        child_.await("going", std::chrono::seconds{30});
        const double mine = churn(from);
        child_.tell("stop");
        const auto theirs = child_.read_line(std::chrono::seconds{30});
        return (mine + std::stod(theirs.value_or("nan"))) / 2;
    }

private:
    test::child_process child_;
};

}  // namespace

double churn_once(const allocator& from)
{
    return churn(from);
}

std::vector<measurement> heap_measurements(const heap_context& with)
{
    using round = double (*)(const allocator&);
    const auto add = [&](measurement& row, const auto& measure, std::optional<double> dpdk,
                         std::optional<double> glibc) {
        row.pages = with.pages;
        row.ours = [&with, measure] { return measure(with.ours); };
        if (with.dpdk)
            row.peers.push_back({"dpdk", [&with, measure] { return measure(*with.dpdk); }, dpdk});
        else if (dpdk)
            row.peers.push_back({"dpdk", nullptr, dpdk});
        row.peers.push_back({"glibc", [&with, measure] { return measure(with.glibc); }, glibc});
        if (with.mimalloc)
            row.peers.push_back({"mimalloc", [&with, measure] { return measure(*with.mimalloc); }});
    };
    std::vector<measurement> rows;
    const auto churn_row = [&](const char* name, round measure, std::optional<double> dpdk,
                               std::optional<double> glibc, const char* unit) {
        measurement row{.name = name, .unit = unit};
        add(row, measure, dpdk, glibc);
        rows.push_back(std::move(row));
    };
    churn_row("heap churn, one process", churn, 10, 0.7, "ns");
    for (const std::size_t bytes : {64, 256, 1024, 4096}) {
        measurement empty{.name = "heap pair of " + std::to_string(bytes) + " B", .unit = "ns"};
        add(empty, [bytes](const allocator& from) { return pairs(from, bytes); }, 5, {});
        rows.push_back(std::move(empty));
        measurement full{.name = "heap pair of " + std::to_string(bytes) + " B, 4096 live",
                         .unit = "ns"};
        add(full, [bytes](const allocator& from) { return pairs_beside_others(from, bytes); }, 2,
            {});
        rows.push_back(std::move(full));
    }
    churn_row(
        "heap churn, p99.9 of a pair", [](const allocator& from) { return tail(from, false); }, {},
        {}, "us");
    churn_row(
        "heap churn, slowest pair", [](const allocator& from) { return tail(from, true); }, {}, {},
        "us");

    measurement cost{.name = "heap overhead of a 64-byte block", .unit = "B", .limit = 32};
    cost.pages = with.pages;
    cost.ours = [&with] { return overhead(with.ours, cohort_used_bytes); };
    if (with.dpdk)
        cost.peers.push_back({"dpdk", [&with] { return overhead(*with.dpdk, dpdk_used_bytes); }});
    rows.push_back(std::move(cost));

    measurement two{.name = "heap churn, two processes", .unit = "ns"};
    two.pages = with.pages;
    auto other = std::make_shared<competitor>("ours");
    two.ours = [&with, other] { return other->churn_against(with.ours); };
    if (with.dpdk) {
        auto other_dpdk = std::make_shared<competitor>("dpdk");
        two.peers.push_back(
            {"dpdk", [&with, other_dpdk] { return other_dpdk->churn_against(*with.dpdk); }, 10});
    } else {
        two.peers.push_back({"dpdk", nullptr, 10});
    }
    rows.push_back(std::move(two));
    return rows;
}

}  // namespace cohort::bench
