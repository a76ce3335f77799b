#include "cohort/memory/memory.hpp"

#include "cohort/memory/memseg_walk.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "support/zero_bytes.hpp"

#include <algorithm>
#include <map>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

errc refusal(const std::function<void()>& call)
{
    try {
        call();
    } catch (const error& refused) {
        return refused.reason();
    }
    return errc{};
}

}  // namespace

TEST_CASE("a memzone is found by its name at the same address until it is released", "[memory]")
{
    scratch_domain domain;

    const auto zone = domain->reserve_memzone("state", 1000);

    CHECK(zone.size() == 1024);
    CHECK(test::is_zero(zone));
    CHECK(domain->find_memzone("state").data() == zone.data());
    CHECK(domain->release_memzone("state"));
    CHECK(domain->find_memzone("state").empty());
    CHECK_FALSE(domain->release_memzone("state"));
}

TEST_CASE("a reservation is refused as rte_memzone_reserve refuses it", "[memory]")
{
    scratch_domain domain;
    domain->reserve_memzone("taken", 64);

    CHECK(refusal([&] { domain->reserve_memzone("taken", 64); }) == errc::exists);
    CHECK(refusal([&] { domain->reserve_memzone(std::string(32, 'n'), 64); }) ==
          errc::name_too_long);
    CHECK(refusal([&] { domain->reserve_memzone("", 64); }) == errc::invalid_argument);
    CHECK(refusal([&] { domain->reserve_memzone("a", 64, {.alignment = 96}); }) ==
          errc::invalid_argument);
    CHECK(refusal([&] { domain->reserve_memzone("b", 4096, {.boundary = 1024}); }) ==
          errc::invalid_argument);
    for (const std::size_t bytes : {0u, 20u})  // a memzone takes whole cache lines
        CHECK(refusal([&] { domain->reserve_memzone("b", bytes, {.boundary = 32}); }) ==
              errc::invalid_argument);
    CHECK(refusal([&] { domain->reserve_memzone("b", 64, {.boundary = 96}); }) ==
          errc::invalid_argument);
    CHECK(refusal([&] { domain->reserve_memzone("b", 64, {.numa_node = -2}); }) ==
          errc::invalid_argument);
    CHECK(refusal([&] { domain->reserve_memzone("c", std::size_t{1} << 40); }) == errc::no_memory);
    CHECK(refusal([&] { domain->reserve_memzone("d", 64, {.pages = page_size::huge_1g}); }) ==
          errc::no_memory);
    CHECK(refusal([&] {
              domain->reserve_memzone("e", 64,
                                      {.pages = page_size::huge_1g, .pages_hint_only = true});
          }) == errc{});
}

TEST_CASE("alignment and boundary hold for every size", "[memory]")
{
    scratch_domain domain;
    int number = 0;
    for (const std::size_t alignment : {64u, 128u, 4096u, 65536u})
        for (const std::size_t bytes : {1u, 64u, 1000u, 4096u, 5000u}) {
            const auto zone = domain->reserve_memzone(fmt::format("z{}", number++), bytes,
                                                      {.alignment = alignment, .boundary = 8192});
            const auto from = reinterpret_cast<std::uintptr_t>(zone.data());
            CHECK(from % alignment == 0);
            CHECK(from / 8192 == (from + zone.size() - 1) / 8192);
        }
}

TEST_CASE("an alignment below a cache line is one of a cache line", "[memory]")
{
    scratch_domain domain;
    for (const std::size_t alignment : {0u, 1u, 32u}) {
        const auto zone =
            domain->reserve_memzone(fmt::format("a{}", alignment), 100, {.alignment = alignment});
        CHECK(reinterpret_cast<std::uintptr_t>(zone.data()) % 64 == 0);
    }
}

TEST_CASE("length 0 with a boundary takes as many bytes as that, whatever lies before it",
          "[memory]")
{
    scratch_domain domain{8_MiB};
    for (int i = 0; i != 8; ++i) {
        domain->reserve_memzone(fmt::format("before{}", i), 64 + 4096u * static_cast<unsigned>(i));
        const auto zone =
            domain->reserve_memzone(fmt::format("bound{}", i), 0, {.boundary = 64_KiB});
        CHECK(zone.size() == 64_KiB);
        CHECK(reinterpret_cast<std::uintptr_t>(zone.data()) % 64_KiB == 0);
    }
}

TEST_CASE("length 0 takes the largest free span, and then nothing is left without growth",
          "[memory]")
{
    scratch_domain domain{8_MiB};

    const auto largest = domain->reserve_memzone("all", 0);

    CHECK(largest.size() > 4_MiB);
    CHECK(refusal([&] { domain->reserve_memzone("rest", 0); }) == errc::no_memory);
}

TEST_CASE("memory grows on demand and what was used before is zeroed again", "[memory]")
{
    scratch_domain domain{4_MiB};

    const auto zone = domain->reserve_memzone("big", 32_MiB);
    std::fill(zone.begin(), zone.end(), std::byte{0xff});
    const auto* const before = zone.data();
    REQUIRE(domain->release_memzone("big"));
    const auto again = domain->reserve_memzone("again", 32_MiB);

    CHECK(again.data() == before);
    CHECK(test::is_zero(again));
}

TEST_CASE("a handle knows when its memzone is gone, also when the name is used again", "[memory]")
{
    scratch_domain domain;

    const auto zone = domain->reserve_memzone("state", 1000);
    const auto other = domain->find_memzone("state");
    CHECK(other.data() == zone.data());
    CHECK(domain->release_memzone(zone));
    const auto next = domain->reserve_memzone("state", 1000);

    CHECK(zone.empty());
    CHECK(other.data() == nullptr);
    CHECK(other.bytes().empty());
    CHECK_FALSE(domain->release_memzone(zone));
    CHECK(next.size() == 1024);
    std::size_t seen = 0;
    domain->for_each_memzone([&](const memzone& each) { seen += each.name() == "state"; });
    CHECK(seen == 1);
}

TEST_CASE("random reservations never overlap and all space comes back", "[memory]")
{
    scratch_domain domain{32_MiB};
    auto random = test::random_engine("memory");
    const auto before = usage_of(domain->region().memory, 0).used;
    std::map<std::string, std::span<std::byte>> held;

    for (int round = 0; round != 1500; ++round) {
        if (held.size() < 100 && random() % 2 == 0) {
            const auto name = fmt::format("z{}", round);
            const auto zone = domain->reserve_memzone(
                name, 1 + random() % 100'000, {.alignment = std::size_t{64} << random() % 7});
            for (const auto& [other, bytes] : held)
                REQUIRE((bytes.data() + bytes.size() <= zone.data() ||
                         zone.data() + zone.size() <= bytes.data()));
            held.emplace(name, zone);
        } else if (!held.empty()) {
            auto victim =
                std::next(held.begin(), static_cast<std::ptrdiff_t>(random() % held.size()));
            REQUIRE(domain->release_memzone(victim->first));
            held.erase(victim);
        }
    }
    for (const auto& [name, bytes] : held)
        REQUIRE(domain->release_memzone(name));

    CHECK(usage_of(domain->region().memory, 0).used == before);
}

TEST_CASE("of many threads that reserve one name exactly one wins", "[memory]")
{
    scratch_domain domain;
    for (int round = 0; round != 20; ++round) {
        std::atomic<int> winners{0};
        std::vector<std::thread> threads;
        for (int t = 0; t != 4; ++t)
            threads.emplace_back([&] {
                if (refusal([&] { domain->reserve_memzone("one", 128); }) == errc{})
                    ++winners;
            });
        for (auto& thread : threads)
            thread.join();
        REQUIRE(winners == 1);
        REQUIRE(domain->release_memzone("one"));
    }
}

TEST_CASE("the table of names holds 2560 objects and more, and says when it is full", "[memory]")
{
    scratch_domain domain;
    std::size_t made = 0;
    errc why{};
    while ((why = refusal([&] { domain->reserve_memzone(fmt::format("zone{}", made), 64); })) ==
           errc{})
        ++made;

    CHECK(made >= 2560);
    CHECK(why == errc::no_space);
    CHECK_FALSE(domain->find_memzone("zone2559").empty());
}
