#include "cohort/ring/ring_offer.hpp"

#include "support/scratch_domain.hpp"

#include <array>
#include <thread>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

constexpr std::array<int, 6> six{1, 2, 3, 4, 5, 6};

}  // namespace

TEST_CASE("a ring that refuses leaves what does not fit with its owner and counts nothing",
          "[ring][offer]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 4);

    const auto result = offer(ring, std::span{six});

    CHECK(result.accepted == 4);
    CHECK(result.dropped == 0);
    CHECK(ring.layout().producer.dropped == 0);
}

TEST_CASE("a ring that drops counts each element that did not get in", "[ring][offer]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 100, {.when_full = full_policy::drop_new});
    constexpr int lanes = 3;
    constexpr std::uint64_t offers = 2000;
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> dropped{0};
    std::uint64_t taken = 0;
    std::atomic<int> running{lanes};

    std::vector<std::thread> producers;
    for (int lane = 0; lane != lanes; ++lane)
        producers.emplace_back([&] {
            for (std::uint64_t i = 0; i != offers; ++i) {
                const auto result = offer(ring, std::span{six});
                accepted += result.accepted;
                dropped += result.dropped;
            }
            --running;
        });
    std::array<int, 16> out{};
    for (std::size_t got = 1; running.load() != 0 || got != 0; taken += got)
        got = ring.dequeue_burst(out);
    for (auto& each : producers)
        each.join();
    taken += ring.dequeue_burst(out);

    CHECK(accepted + dropped == lanes * offers * six.size());
    CHECK(ring.layout().producer.dropped == dropped);
    CHECK(taken + ring.count() == accepted);
}

TEST_CASE("dropped buffers are given back by whoever offered them", "[ring][offer]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 16, .cache_size = 0});
    auto ring = domain->create_ring<mbuf*>("r", 2, {.when_full = full_policy::drop_new});
    std::array<mbuf*, 5> packets{};
    REQUIRE(pool.alloc_bulk(packets));

    const auto result = offer(ring, std::span<mbuf* const>{packets},
                              [](std::span<mbuf* const> rest) { free_bulk(rest); });

    CHECK(result.dropped == 3);
    CHECK(domain.audit_of("p").in_pool == 14);  // the other two are in the ring
    CHECK(domain.audit().clean());
}

TEST_CASE("what is dropped is counted first, so a death while it is discarded leaves no doubt",
          "[ring][offer]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 4, {.when_full = full_policy::drop_new});
    std::uint64_t counted = 0;

    offer(ring, std::span{six},
          [&](std::span<const int>) { counted = ring.layout().producer.dropped; });

    CHECK(ring.count() == 4);
    CHECK(counted == 2);
}

TEST_CASE("a ring that blocks waits for room, and drops what finds none in time", "[ring][offer]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>(
        "r", 4, {.when_full = full_policy::block, .full_patience_us = 20'000'000});

    SECTION("room comes")
    {
        std::thread consumer{[&] {
            std::array<int, 2> out{};
            for (std::size_t taken = 0; taken != 6;)
                taken += ring.dequeue_burst(out);
        }};
        const auto result = offer(ring, std::span{six});
        consumer.join();
        CHECK(result.accepted == 6);
        CHECK(result.dropped == 0);
    }
    SECTION("none comes")
    {
        ring.layout().full_patience_us = 1000;
        const auto result = offer(ring, std::span{six});
        CHECK(result.accepted == 4);
        CHECK(result.dropped == 2);
        CHECK(ring.layout().producer.dropped == 2);
    }
}

TEST_CASE("an offer tells when the ring holds more than its watermark", "[ring][offer]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<int>("r", 8, {.watermark = 6});

    CHECK_FALSE(offer(ring, std::span{six}).above_watermark);
    CHECK(offer(ring, std::span{six}.first(1)).above_watermark);
}
