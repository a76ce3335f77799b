// Domains that one process opens and closes: many times, several at a time, in any order.

#include "process/living_domain.hpp"
#include "support/open_descriptors.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include <malloc.h>

namespace cohort::test {
namespace {

/// What a process has of the kernel and of the heap.
struct possessions {
    std::size_t descriptors = 0;
    std::ptrdiff_t mappings = 0;
    std::size_t bytes = 0;
};

possessions count_possessions()
{
    possessions all;
    all.descriptors = open_descriptors();
    std::ifstream maps{"/proc/self/maps"};
    // Stacks of ended threads are kept by the C library, and heaps grow: only files count.
    for (std::string line; std::getline(maps, line);)
        all.mappings += line.find("cohort") != std::string::npos ||
                                line.find("memfd:") != std::string::npos ||
                                line.starts_with("55000") || line.starts_with("551")
                            ? 1
                            : 0;
    all.bytes = ::mallinfo2().uordblks;
    return all;
}

/// Runs `once` until what it needs for good is there, counts, and runs it `rounds` times more.
template <typename Once>
void require_no_leak(std::uint64_t rounds, Once once)
{
    for (int warm_up = 0; warm_up != 3; ++warm_up)
        once();
    const auto before = count_possessions();
    for (std::uint64_t round = 0; round != rounds; ++round)
        once();
    const auto after = count_possessions();
    CHECK(after.descriptors == before.descriptors);
    CHECK(after.mappings == before.mappings);
    if (!slow_sanitizer)  // whose heap keeps what is freed
        CHECK(after.bytes < before.bytes + 16 * rounds);
}

}  // namespace

TEST_CASE("a domain that is started and closed again and again leaves nothing behind", "[life]")
{
    const scratch_runtime_directory directory;
    require_no_leak(scaled(100, 1000), [] {
        auto domain = primary::start({.name = "short", .memory = 2_MiB, .huge = huge_policy::none});
        REQUIRE(domain->create_pktmbuf_pool("packets", {.count = 32, .cache_size = 4}).alloc() !=
                nullptr);
        domain->create_ring<std::uint64_t>("numbers", 16);
        REQUIRE(domain->heap().malloc(100) != nullptr);
    });
    CHECK(std::filesystem::is_empty(directory.path()));
}

TEST_CASE("a member that attaches and leaves again and again leaves nothing behind, on either side",
          "[life]")
{
    living_domain domain;
    const auto fds_of_primary = [&] {
        return open_descriptors(std::to_string(domain.primary().pid()));
    };
    const auto once = [&] {
        auto member = secondary::attach(domain.name(), patience, "short");
        REQUIRE(member->heap().malloc(100) != nullptr);
    };
    once();
    std::size_t settled = 0;
    REQUIRE(eventually([&] { return std::exchange(settled, fds_of_primary()) == settled; }));

    require_no_leak(scaled(100, 1000), once);

    CHECK(eventually([&] { return fds_of_primary() <= settled; }));
    const auto seen = domain.observe();
    CHECK(eventually([&] { return live_members(seen.region()) == 1; }));
}

TEST_CASE("several domains are open in one process and are closed in any order", "[life]")
{
    const scratch_runtime_directory directory;
    std::array order{0, 1, 2};
    do {
        auto held = start_cohortd("held");  // the third, in which this process is a secondary
        std::array<std::unique_ptr<ipc::joined_domain>, 3> open{
            primary::start({.name = "one", .memory = 4_MiB, .huge = huge_policy::none}),
            primary::start({.name = "two", .memory = 4_MiB, .huge = huge_policy::none}),
            secondary::attach("held", patience, "both")};
        for (auto& each : open)
            each->create_ring<std::uint64_t>("numbers", 16);

        for (const auto next : order) {
            for (auto& each : open)
                if (each) {
                    std::uint64_t number = 0;
                    auto ring = each->find_ring<std::uint64_t>("numbers").value();
                    CHECK(ring.enqueue(7));
                    CHECK(ring.dequeue(number));
                    CHECK(number == 7);
                }
            open[static_cast<std::size_t>(next)].reset();
        }
    } while (std::next_permutation(order.begin(), order.end()));
}

}  // namespace cohort::test
