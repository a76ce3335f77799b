#include "cohort/ring/ring_zero_copy.hpp"

#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "unit/single_sides.hpp"

#include <array>
#include <deque>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;
using cohort::test::single;

namespace {

template <typename Ring>
void write_numbers(const ring_room<Ring>& room, std::uint64_t first)
{
    for (auto part : {room.first(), room.second()})
        for (auto& slot : part)
            slot = first++;
}

mbuf* packet_number(pktmbuf_pool& pool, std::uint32_t tag)
{
    auto* packet = pool.alloc();
    packet->hash.tag = tag;
    return packet;
}

}  // namespace

TEST_CASE(
    "elements written in place come out in order, with partial commits and aborts, over wraps",
    "[ring][zero-copy]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    const auto start = GENERATE(0u, 13u, 0xffff'fff9u);
    constexpr std::uint32_t capacity = 13;
    auto ring = domain->create_ring<std::uint64_t>("r", capacity, options);
    rewind(ring.layout(), start);
    auto random = test::random_engine("zero copy");
    std::deque<std::uint64_t> model;
    std::uint64_t next = 0;
    bool wrapped = false;

    for (int step = 0; step != 300; ++step) {
        const std::size_t count = 1 + random() % (capacity + 2);
        const bool bulk = random() % 2 == 0;
        if (random() % 2 == 0) {
            auto room = bulk ? enqueue_bulk_start(ring, count) : enqueue_burst_start(ring, count);
            const auto free = capacity - model.size();
            REQUIRE(room.size() == (bulk ? (count <= free ? count : 0) : std::min(count, free)));
            REQUIRE(room.first().size() + room.second().size() == room.size());
            wrapped = wrapped || !room.second().empty();
            write_numbers(room, next);
            const auto added = random() % (room.size() + 1);
            for (std::size_t i = 0; i != added; ++i)
                model.push_back(next++);
            if (added != 0)
                room.finish(added);  // else the end of the scope aborts
        } else {
            auto front = bulk ? dequeue_bulk_start(ring, count) : dequeue_burst_start(ring, count);
            REQUIRE(front.size() ==
                    (bulk ? (count <= model.size() ? count : 0) : std::min(count, model.size())));
            std::vector<std::uint64_t> seen(front.first().begin(), front.first().end());
            seen.insert(seen.end(), front.second().begin(), front.second().end());
            for (std::size_t i = 0; i != seen.size(); ++i) {
                REQUIRE(seen[i] == model[i]);
                REQUIRE(front[i] == model[i]);
            }
            const auto taken = random() % (front.size() + 1);
            front.finish(taken);
            model.erase(model.begin(), model.begin() + static_cast<std::ptrdiff_t>(taken));
        }
        REQUIRE(ring.count() == model.size());
        REQUIRE(find_fault(ring.layout()) == nullptr);
    }
    CHECK(wrapped);
}

TEST_CASE("one may peek at packets, take some of them and leave the rest", "[ring][zero-copy]")
{
    scratch_domain domain;
    const auto start = GENERATE(0u, 5u, 0xffff'fffeu);
    auto pool = domain->create_pktmbuf_pool("p", {.count = 32, .cache_size = 0});
    auto ring = domain->create_ring<mbuf*>("r", 8);
    rewind(ring.layout(), start);
    for (std::uint32_t tag = 0; tag != 5; ++tag)
        REQUIRE(ring.enqueue(packet_number(pool, tag)));

    {
        const auto peeked = dequeue_burst_start(ring, 8);
        REQUIRE(peeked.size() == 5);
        for (std::uint32_t tag = 0; tag != 5; ++tag)
            CHECK(peeked[tag]->hash.tag == tag);
    }
    CHECK(ring.count() == 5);
    CHECK_FALSE(dequeue_bulk_start(ring, 6));

    std::array<mbuf*, 2> taken{};
    auto front = dequeue_bulk_start(ring, 3);
    for (std::size_t i = 0; i != taken.size(); ++i)
        taken[i] = front[i];
    front.finish(2);
    CHECK(ring.count() == 3);
    const auto word = custody::word_at(taken[1], mbuf_custody_offset).load();
    CHECK(word == custody::received_from(domain->members().holder(), ring.layout().index));
    free_bulk(taken);
    CHECK(domain.audit().clean());
    CHECK(domain.audit_of("p").in_pool == 29);
}

TEST_CASE("room for packets is known before they are made", "[ring][zero-copy]")
{
    scratch_domain domain;
    const auto start = GENERATE(0u, 5u, 0xffff'fffeu);
    auto pool = domain->create_pktmbuf_pool("p", {.count = 32, .cache_size = 0});
    auto ring = domain->create_ring<mbuf*>("r", 8);
    rewind(ring.layout(), start);
    auto room = enqueue_burst_start(ring, 12);
    REQUIRE(room.size() == 8);

    std::vector<mbuf*> packets;
    for (std::uint32_t tag = 0; tag != 6; ++tag)
        packets.push_back(packet_number(pool, tag));
    CHECK(room.finish(packets) == 6);

    CHECK(ring.count() == 6);
    for (std::uint32_t tag = 0; tag != 6; ++tag) {
        mbuf* packet = nullptr;
        REQUIRE(ring.dequeue(packet));
        CHECK(packet->hash.tag == tag);
        free(packet);
    }
    CHECK(find_fault(ring.layout()) == nullptr);
}

TEST_CASE("a holder that dies between start and finish has moved nothing, and its claim passes on",
          "[ring][zero-copy]")
{
    scratch_domain domain;
    const auto options = GENERATE(ring_options{}, single);
    auto ring = domain->create_ring<std::uint64_t>("r", 8, options);
    domain->leave_lane();
    std::uint64_t value = 0;

    SECTION("a producer that has written all")
    {
        test::run_and_lose([&] {
            auto room = enqueue_bulk_start(ring, 5);
            write_numbers(room, 100);
            new ring_room{std::move(room)};  // never ends
        });
        CHECK(ring.empty());
        CHECK(ring.enqueue(7));
        CHECK((ring.dequeue(value) && value == 7));
    }
    SECTION("a consumer that has looked at all")
    {
        std::thread{[&] {
            REQUIRE(ring.enqueue_bulk(std::array<std::uint64_t, 3>{1, 2, 3}) == 3);
        }}.join();
        test::run_and_lose([&] { new ring_front{dequeue_bulk_start(ring, 3)}; });  // never ends
        CHECK(ring.count() == 3);
        CHECK((ring.dequeue(value) && value == 1));
    }
    CHECK(find_fault(ring.layout()) == nullptr);
}

TEST_CASE("the ends of a ring in stages are written and read in place", "[stages][zero-copy]")
{
    scratch_domain domain;
    const auto start = GENERATE(0u, 0xffff'fffdu);
    auto ring = domain->create_staged_ring<std::uint64_t>("s", 5, {.stages = 2});
    rewind(ring.layout(), start);

    auto room = enqueue_burst_start(ring, 9);
    REQUIRE(room.size() == 5);
    CHECK(room.second().empty() == (start == 0));
    write_numbers(room, 100);
    room.finish(4);
    CHECK(ring.counts(0).waiting == 4);
    CHECK_FALSE(dequeue_burst_start(ring, 1));  // no stage has seen it
    for (std::uint32_t stage = 0; stage != ring.stages(); ++stage)
        REQUIRE(ring.acquire_burst(stage, 3).release());

    CHECK_FALSE(dequeue_bulk_start(ring, 4));
    {
        const auto peeked = dequeue_burst_start(ring, 4);
        REQUIRE(peeked.size() == 3);
        CHECK((peeked[0] == 100 && peeked[1] == 101 && peeked[2] == 102));
        CHECK(peeked.first().size() + peeked.second().size() == 3);
    }
    dequeue_bulk_start(ring, 3).finish(2);
    std::uint64_t next = 0;
    CHECK((ring.dequeue(next) && next == 102));
    CHECK(find_fault(ring.layout()) == nullptr);
}

TEST_CASE("packets that leave the stages in two steps are their taker's", "[stages][zero-copy]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 32, .cache_size = 0});
    auto ring = domain->create_staged_ring<mbuf*>("s", 8, {.stages = 1});
    std::array<mbuf*, 3> packets{};
    for (std::uint32_t tag = 0; tag != packets.size(); ++tag)
        packets[tag] = packet_number(pool, tag);
    CHECK(enqueue_bulk_start(ring, 3).finish(packets) == 3);
    REQUIRE(ring.acquire_burst(0, 3).release());

    dequeue_bulk_start(ring, 3).finish(1);

    const auto word = custody::word_at(packets[0], mbuf_custody_offset).load();
    CHECK(word == custody::received_from(domain->members().holder(), ring.layout().index));
    CHECK(domain.audit_of("p").in_rings == 2);
    free(packets[0]);
    CHECK(domain.audit().clean());
}

TEST_CASE("a holder that only takes its time keeps its claim", "[ring][zero-copy]")
{
    scratch_domain domain;
    auto ring = domain->create_ring<std::uint64_t>("r", 8, {.stall_limit_us = 2000});
    auto room = enqueue_bulk_start(ring, 5);

    bool accepted = true;
    std::thread{[&] { accepted = ring.enqueue(1); }}.join();
    CHECK_FALSE(accepted);
    CHECK(ring.layout().producer.stalls == 1);

    write_numbers(room, 10);
    room.finish(5);
    CHECK(ring.count() == 5);
    CHECK(ring.enqueue(15));
}
