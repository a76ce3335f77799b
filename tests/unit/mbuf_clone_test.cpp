#include "cohort/packet/mbuf_clone.hpp"

#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "support/byte_pattern.hpp"
#include "support/packet_bytes.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::byte_pattern;
using cohort::test::scratch_domain;

namespace {

mbuf* packet_of(pktmbuf_pool& pool, std::size_t length)
{
    return test::packet_of(pool, byte_pattern(length));
}

bool shows_pattern(const mbuf& packet, std::size_t length)
{
    std::vector<std::byte> seen(length);
    return packet.pkt_len == length && read(packet, 0, seen) && seen == byte_pattern(length) &&
           find_fault(packet, true) == nullptr;
}

/// A domain with two pools, which must be whole and sound at the end of each test.
struct two_pools {
    scratch_domain domain;
    pktmbuf_pool large =
        domain->create_pktmbuf_pool("large", {.count = 64, .cache_size = 8, .private_bytes = 32});
    pktmbuf_pool small =
        domain->create_pktmbuf_pool("small", {.count = 64, .cache_size = 8, .data_room = 256});

    ~two_pools()
    {
        const auto report = domain.audit();
        CAPTURE(report.faults);
        CHECK(report.clean());
        for (const auto* name : {"large", "small"}) {
            const auto sums = domain.audit_of(name);
            CHECK(sums.free() == sums.count);
        }
    }
};

}  // namespace

TEST_CASE("a clone shows the data and header of its packet from a buffer of any pool",
          "[packet][clone]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 100);
    packet->hash.rss = 7;
    packet->vlan_tci = 9;
    packet->dynfield[3] = 11;

    auto* copied = clone(*packet, with.small.objects());

    REQUIRE(copied);
    CHECK(copied->is_clone());
    CHECK(&copied->direct() == packet);
    CHECK(copied->ol_flags == mbuf_flag::indirect);
    CHECK(copied->bytes().data() == packet->bytes().data());
    CHECK((copied->hash.rss == 7 && copied->vlan_tci == 9 && copied->dynfield[3] == 11));
    CHECK(shows_pattern(*copied, 100));
    CHECK(refcnt(*packet) == 2);
    CHECK(refcnt(*copied) == 1);
    CHECK(with.domain.audit().clean());
    free(packet);
    CHECK(with.domain.audit_of("large").shared == 1);
    CHECK(shows_pattern(*copied, 100));
    free(copied);
}

TEST_CASE("a packet and its clones are freed in any order", "[packet][clone]")
{
    two_pools with;
    auto order = GENERATE(std::vector{0, 1, 2}, std::vector{1, 0, 2}, std::vector{1, 2, 0},
                          std::vector{2, 1, 0}, std::vector{0, 2, 1}, std::vector{2, 0, 1});
    const auto length = GENERATE(100u, 6000u);
    std::array<mbuf*, 3> all{packet_of(with.large, length)};
    all[1] = clone(*all[0], with.small.objects());
    all[2] = clone(*all[1], with.large.objects());  // a clone of the clone
    REQUIRE((all[1] && all[2]));
    CHECK(&all[2]->direct() == all[0]);
    CHECK(refcnt(*all[0]) == 3);

    for (const int i : order) {
        CHECK(shows_pattern(*all[static_cast<std::size_t>(i)], length));
        free(all[static_cast<std::size_t>(i)]);
        CHECK(with.domain.audit().clean());
    }
}

TEST_CASE("what has been shared comes out of its pool as new", "[packet][clone]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 100);
    auto* copied = clone(*packet, with.large.objects());
    free(packet);
    free(copied);

    std::array<mbuf*, 8> fresh{};
    REQUIRE(with.large.alloc_bulk(fresh));

    for (auto* buffer : fresh) {
        CHECK(buffer->is_plain());
        CHECK(buffer->buf_addr == buffer->private_area().data() + 32);
        CHECK(buffer->buf_len == with.large.data_room());
        CHECK(find_fault(*buffer, true) == nullptr);
    }
    free_bulk(fresh);
}

TEST_CASE("attach refuses a buffer that is not its holder's alone", "[packet][clone]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 100);
    auto* other = packet_of(with.large, 50);
    auto* copied = clone(*packet, with.small.objects());

    CHECK_FALSE(attach(*packet, *other));
    CHECK_FALSE(attach(*copied, *other));
    CHECK(shows_pattern(*packet, 100));

    detach(*copied);
    CHECK(copied->is_plain());
    CHECK(copied->data_len == 0);
    CHECK(copied->buf_len == 256);
    CHECK(refcnt(*packet) == 1);
    CHECK(attach(*copied, *other));
    for (auto* each : {packet, other, copied})
        free(each);
}

TEST_CASE("a clone that finds its pool empty leaves nothing behind", "[packet][clone]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 9000);
    std::vector<mbuf*> all;
    for (mbuf* each = nullptr; (each = with.small.alloc()) != nullptr;)
        all.push_back(each);
    for (int i = 0; i != 2; ++i) {  // two of five segments
        free(all.back());
        all.pop_back();
    }

    CHECK(clone(*packet, with.small.objects()) == nullptr);

    CHECK(refcnt(*packet) == 1);
    CHECK(with.domain.audit().clean());
    free_bulk(all);
    free(packet);
}

TEST_CASE("a buffer with several handles is freed with the last of them", "[packet][clone]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 100);

    CHECK(refcnt_update(*packet, 2) == 3);
    CHECK(prefree_seg(packet) == nullptr);
    free(packet);
    CHECK(refcnt(*packet) == 1);
    CHECK(prefree_seg(packet) == packet);
    raw_free(packet);
}

TEST_CASE("lanes that clone and free the same packet at once count right", "[packet][clone]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 100);
    constexpr int rounds = 20'000;

    const auto work = [&](mbuf* own) {
        for (int i = 0; i != rounds; ++i) {
            auto* one = clone(*own, with.small.objects());
            auto* two = one ? clone(*one, with.small.objects()) : nullptr;
            free(one);
            free(two);
        }
        free(own);
        with.domain->leave_lane();
    };
    SECTION("each has a clone, and the packet stays")
    {
        std::thread first{work, clone(*packet, with.small.objects())};
        std::thread second{work, clone(*packet, with.small.objects())};
        first.join();
        second.join();
        CHECK(refcnt(packet->direct()) == 1);
    }
    SECTION("each has a clone, and the packet is freed meanwhile")
    {
        auto* kept = clone(*packet, with.small.objects());
        std::thread first{work, clone(*packet, with.small.objects())};
        std::thread second{work, clone(*packet, with.small.objects())};
        free(packet);
        packet = kept;
        first.join();
        second.join();
        CHECK(refcnt(packet->direct()) == 1);
    }
    SECTION("each has a handle")
    {
        refcnt_update(*packet, 2);
        std::thread first{work, packet};
        std::thread second{work, packet};
        first.join();
        second.join();
        CHECK(refcnt(packet->direct()) == 1);
    }
    CHECK(shows_pattern(*packet, 100));
    free(packet);
}

TEST_CASE("a clone let go by a thread that did not finish is known though the buffer is used anew",
          "[packet][clone]")
{
    two_pools with;
    auto& all = with.domain->region().members.references;
    constexpr lane_id dead = 100;
    auto* packet = packet_of(with.large, 100);
    auto* held = clone(*packet, with.small.objects());

    const auto sequence = all[dead].begin(packet->share, held->share, reference_word::pristine);
    const reference_word before{packet->share};
    packet->share = before.changed(-reference_word::one_clone, dead, sequence).bits;
    free(packet);  // alone with it: its count is as that of a fresh buffer now
    REQUIRE(settle(all, dead));

    CHECK(held->share == reference_word::pristine);
    detail::restore_buffer(*held);
    free(held);
    CHECK(with.domain.audit().clean());
}

TEST_CASE("the audit tells of a count that no clones explain", "[packet][clone][audit]")
{
    two_pools with;
    auto* packet = packet_of(with.large, 100);
    packet->share += 4;

    REQUIRE_FALSE(with.domain.audit().clean());
    CHECK_THAT(with.domain.audit().faults.front(),
               Catch::Contains("has 0 clones, and its count says 1"));

    packet->share -= 4;
    free(packet);
}

TEST_CASE("a change of a count that its thread did not finish is settled by what others saw",
          "[packet][clone]")
{
    two_pools with;
    auto& members = with.domain->members();
    const auto me = members.lane();
    auto& all = with.domain->region().members.references;
    constexpr lane_id dead = 100;
    auto* packet = packet_of(with.large, 100);
    auto* held = with.small.alloc();
    const auto shown = reinterpret_cast<std::uint64_t>(packet) | 2;

    const auto sequence = all[dead].begin(packet->share, held->share, shown);
    SECTION("nothing was counted")
    {
        REQUIRE(settle(all, dead));
        CHECK(held->is_plain());
    }
    SECTION("counted, and still to be seen in the word")
    {
        const reference_word before{packet->share};
        packet->share = before.changed(reference_word::one_clone, dead, sequence).bits;
        REQUIRE(settle(all, dead));
        CHECK(held->share == shown);
    }
    SECTION("counted, and overwritten by a lane that lets a clone go")
    {
        auto* other = clone(*packet, with.small.objects());
        const reference_word before{packet->share};
        packet->share = before.changed(reference_word::one_clone, dead, sequence).bits;
        free(other);
        REQUIRE(reference_word{packet->share}.lane() == me);
        REQUIRE(settle(all, dead));
        CHECK(held->share == shown);
    }
    SECTION("counted, and overwritten by a lane that makes a clone")
    {
        const reference_word before{packet->share};
        packet->share = before.changed(reference_word::one_clone, dead, sequence).bits;
        free(clone(*packet, with.small.objects()));
        REQUIRE(reference_word{packet->share}.lane() == me);
        REQUIRE(settle(all, dead));
        CHECK(held->share == shown);
    }
    CHECK_FALSE(settle(all, dead));
    free(held);
    free(packet);
}
