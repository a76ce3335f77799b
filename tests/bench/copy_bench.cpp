#include "copy_bench.hpp"

#include "cohort/base/copy_bytes.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <random>

#ifdef COHORT_BENCH_DPDK
#include <rte_memcpy.h>
#endif

namespace cohort::bench {
namespace {

constexpr std::size_t copies = 50'000;
constexpr std::size_t buffers = 32;              // of each side: all stay in the second cache
constexpr std::size_t distance = 2 * 2176 + 64;  // as mbufs of 4 KiB of data room

/// Where each copy goes to and comes from, and how long it is: the same for all sides.
struct copy_plan {
    std::unique_ptr<std::byte[]> source{new std::byte[buffers * distance + 64]{}};
    std::unique_ptr<std::byte[]> target{new std::byte[buffers * distance + 64]{}};
    std::array<std::size_t, 2 * buffers> offsets{};
    std::array<std::size_t, 1024> lengths{};

    copy_plan(std::size_t shortest, std::size_t longest)
    {
        std::mt19937_64 random{1};
        for (std::size_t i = 0; i != offsets.size(); ++i)
            offsets[i] = i % buffers * distance + random() % 64;
        for (auto& length : lengths)
            length = shortest + random() % (longest - shortest + 1);
    }
};

template <typename Copy>
double nanoseconds_each(const copy_plan& plan, Copy copy)
{
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i != copies; ++i) {
        copy(plan.target.get() + plan.offsets[i % buffers],
             plan.source.get() + plan.offsets[buffers + i * 7 % buffers],
             plan.lengths[i % plan.lengths.size()]);
        asm("" ::: "memory");
    }
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start)
               .count() /
           copies;
}

measurement copies_of(const std::string& what, std::size_t shortest, std::size_t longest)
{
    const auto plan = std::make_shared<copy_plan>(shortest, longest);
    measurement row{.name = "copy " + what + ", built for " COPY_BUILT_FOR, .unit = "ns"};
    row.ours = [plan] {
        return nanoseconds_each(
            *plan, [](void* to, const void* from, std::size_t n) { copy_bytes(to, from, n); });
    };
    row.peers.push_back({"libc",
                         [plan] {
                             return nanoseconds_each(*plan,
                                                     [](void* to, const void* from, std::size_t n) {
                                                         std::memcpy(to, from, n);
                                                     });
                         },
                         0.95});
#ifdef COHORT_BENCH_DPDK
    row.peers.push_back({"dpdk",
                         [plan] {
                             return nanoseconds_each(*plan,
                                                     [](void* to, const void* from, std::size_t n) {
                                                         rte_memcpy(to, from, n);
                                                     });
                         },
                         0.95});
#endif
    return row;
}

}  // namespace

std::vector<measurement> COPY_MEASUREMENTS()
{
    std::vector<measurement> rows;
    for (const std::size_t n : {16, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 1500, 2048, 4096})
        rows.push_back(copies_of(std::to_string(n) + " B", n, n));
    rows.push_back(copies_of("16 to 128 B", 16, 128));
    rows.push_back(copies_of("16 to 4096 B", 16, 4096));
    return rows;
}

}  // namespace cohort::bench
