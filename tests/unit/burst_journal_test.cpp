// What a successor or the reaper makes of a burst whose owner stopped at each of its steps. Here
// the steps are arranged by hand; examples/pipeline/test_pipeline.py kills real processes at them.

#include "cohort/port/burst_journal.hpp"

#include "cohort/primary/primary.hpp"
#include "support/scratch_directory.hpp"

#include <array>

#include <catch2/catch.hpp>

namespace {

using namespace cohort;

/// A queue in a region, and three packets that are received by this member.
class scratch_queue {
public:
    explicit scratch_queue(recovery_policy policy = recovery_policy::release)
        : domain_{primary::start({.name = "journal", .memory = 4_MiB, .huge = huge_policy::none})}
        , pool_{domain_->create_pktmbuf_pool("packets",
                                             {.count = 64, .cache_size = 0, .policy = policy})}
        , queue_{*::new (domain_->reserve_memzone("queue", sizeof(port_queue_layout)).data())
                     port_queue_layout{}}
    {
        CHECK(pool_.alloc_bulk(packets_));
    }

    [[nodiscard]] port_queue_layout& queue() noexcept { return queue_; }
    [[nodiscard]] std::span<mbuf* const> packets() const noexcept { return packets_; }
    [[nodiscard]] std::size_t in_use() const noexcept { return pool_.objects().in_use(); }
    [[nodiscard]] lane_id lane() const { return domain_->members().lane(); }

    [[nodiscard]] std::size_t marked() const
    {
        return static_cast<std::size_t>(
            std::count_if(packets_.begin(), packets_.end(), [](const mbuf* packet) {
                return custody::is_received(packet->custody);
            }));
    }
    void mark_all()
    {
        for (auto* packet : packets_)
            packet->custody |= custody::received;
    }

private:
    test::scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_;
    pktmbuf_pool pool_;
    port_queue_layout& queue_;
    std::array<mbuf*, 3> packets_{};
};

constexpr burst_result three_packets{.position = 30, .bytes = 300};

}  // namespace

TEST_CASE("a committed rx burst hands its packets out as received on that port", "[port][journal]")
{
    scratch_queue scratch;

    commit_rx(scratch.queue(), 5, scratch.packets(), three_packets);

    CHECK(scratch.marked() == 3);
    CHECK(custody::ring_of(scratch.packets()[0]->custody) == 5);
    CHECK(scratch.queue().position.load() == 30);
    CHECK(scratch.queue().packets.load() == 3);
    settle(scratch.queue(), port_direction::rx);
    CHECK(scratch.marked() == 3);
}

TEST_CASE("an rx burst that was not committed leaves free buffers, for it is read again",
          "[port][journal]")
{
    scratch_queue scratch;
    commit_rx(scratch.queue(), 5, scratch.packets(), three_packets);
    scratch.queue().position.store(0);  // as if killed just before that store

    SECTION("the next owner comes first")
    {
        settle(scratch.queue(), port_direction::rx);
        CHECK(scratch.marked() == 0);
    }
    SECTION("the reaper comes first")
    {
        unmark_for_dead(scratch.queue(), port_direction::rx, scratch.lane());
        CHECK(scratch.marked() == 0);
    }
}

TEST_CASE("a port takes nothing back: with give_back its packets are not marked", "[port][journal]")
{
    scratch_queue scratch{recovery_policy::give_back};

    commit_rx(scratch.queue(), 5, scratch.packets(), three_packets);

    CHECK(scratch.marked() == 0);
}

TEST_CASE("a tx burst that was not committed leaves the packets with their holder",
          "[port][journal]")
{
    scratch_queue scratch;
    scratch.mark_all();
    begin_tx(scratch.queue(), scratch.packets(), three_packets);

    SECTION("killed")
    {
        CHECK(scratch.marked() == 3);
    }
    SECTION("refused by the device")
    {
        cancel_tx(scratch.queue());
        CHECK(scratch.marked() == 3);
    }
    unmark_for_dead(scratch.queue(), port_direction::tx, scratch.lane());
    settle(scratch.queue(), port_direction::tx);

    CHECK(scratch.marked() == 3);
    CHECK(scratch.queue().packets.load() == 0);
    CHECK(scratch.in_use() == 3);
}

TEST_CASE("a tx burst killed just after its commit is counted, and none of it is sent again",
          "[port][journal]")
{
    scratch_queue scratch;
    scratch.mark_all();
    begin_tx(scratch.queue(), scratch.packets(), three_packets);
    scratch.queue().position.store(30);

    unmark_for_dead(scratch.queue(), port_direction::tx, scratch.lane());
    CHECK(scratch.marked() == 0);
    settle(scratch.queue(), port_direction::tx);

    CHECK(scratch.queue().packets.load() == 3);
    CHECK(scratch.queue().bytes.load() == 300);
}

TEST_CASE("a late reaper of another lane does not touch the burst under way", "[port][journal]")
{
    scratch_queue scratch;
    scratch.mark_all();
    begin_tx(scratch.queue(), scratch.packets(), three_packets);
    scratch.queue().position.store(30);

    unmark_for_dead(scratch.queue(), port_direction::tx, static_cast<lane_id>(scratch.lane() + 1));

    CHECK(scratch.marked() == 3);
}

TEST_CASE("a committed tx burst frees its packets", "[port][journal]")
{
    scratch_queue scratch;
    scratch.mark_all();
    begin_tx(scratch.queue(), scratch.packets(), three_packets);

    commit_tx(scratch.queue(), scratch.packets());

    CHECK(scratch.in_use() == 0);
    CHECK(scratch.queue().packets.load() == 3);
    CHECK(scratch.queue().journal.armed.load() == 0);
}

TEST_CASE("packets taken from a device are its again when the rx burst was not committed",
          "[port][journal]")
{
    scratch_queue scratch{GENERATE(recovery_policy::release, recovery_policy::give_back)};
    const auto device = custody::at_device(5, 0);
    commit_rx_from_device(scratch.queue(), 5, scratch.packets(), three_packets, device);
    CHECK(scratch.queue().packets.load() == 3);
    CHECK_FALSE(scratch.packets()[0]->custody == device);
    scratch.queue().position.store(0);  // as if killed just before that store

    const bool reaper_first = GENERATE(true, false);
    if (reaper_first)
        unmark_for_dead(scratch.queue(), port_direction::rx, scratch.lane());
    else
        settle(scratch.queue(), port_direction::rx);
    for (const auto* packet : scratch.packets())
        CHECK(packet->custody == device);
}

TEST_CASE("what a device is given is its own once the tx burst is committed, and what was copied "
          "is not sent again",
          "[port][journal]")
{
    scratch_queue scratch;
    scratch.mark_all();
    const auto device = custody::at_device(5, 1);
    const auto given = scratch.packets().first(2);
    const auto copied = scratch.packets().last(1);
    const auto before = scratch.packets()[0]->custody;
    commit_tx_to_device(scratch.queue(), {given, copied}, 2, three_packets, device);
    CHECK(given[0]->custody == device);
    CHECK(given[1]->custody == device);
    CHECK_FALSE(custody::is_received(copied[0]->custody));
    CHECK(scratch.queue().packets.load() == 2);
    for (auto* packet : scratch.packets())  // as if killed just after the commit, or before
        packet->custody = before;
    scratch.queue().journal.armed.store(3);
    const bool committed = GENERATE(true, false);
    if (!committed)
        scratch.queue().position.store(0);

    const bool reaper_first = GENERATE(true, false);
    if (reaper_first)
        unmark_for_dead(scratch.queue(), port_direction::tx, scratch.lane());
    else
        settle(scratch.queue(), port_direction::tx);
    CHECK(given[0]->custody == (committed ? device : before));
    CHECK(given[1]->custody == (committed ? device : before));
    CHECK(custody::is_received(copied[0]->custody) != committed);
}
