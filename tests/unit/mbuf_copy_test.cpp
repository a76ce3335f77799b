#include "cohort/packet/mbuf_copy.hpp"

#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_dump.hpp"
#include "cohort/packet/mbuf_history.hpp"
#include "support/byte_pattern.hpp"
#include "support/packet_bytes.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::byte_pattern;
using cohort::test::bytes_of;
using cohort::test::scratch_domain;

namespace {

struct one_pool {
    scratch_domain domain;
    pktmbuf_pool pool = domain->create_pktmbuf_pool(
        "p", {.count = 64, .cache_size = 8, .data_room = 128 + 500, .history = 4});

    mbuf* packet_of(std::size_t length) { return test::packet_of(pool, byte_pattern(length)); }
    ~one_pool()
    {
        CHECK(domain.audit().clean());
        const auto sums = domain.audit_of("p");
        CHECK(sums.free() == sums.count);
    }
};

}  // namespace

TEST_CASE("a copy has the bytes that were asked for, and nothing in common", "[packet][copy]")
{
    one_pool with;
    auto* packet = with.packet_of(3000);
    packet->hash.rss = 5;
    const auto whole = byte_pattern(3000);
    const auto [offset, length] = GENERATE(table<std::size_t, std::size_t>(
        {{0, to_the_end}, {1, 10}, {499, 2}, {628, 1500}, {2999, 10}, {700, 0}}));

    auto* made = copy(*packet, with.pool.objects(), offset, length);

    REQUIRE(made);
    const auto wanted = std::min(length, 3000 - offset);
    CHECK(find_fault(*made, true) == nullptr);
    CHECK(std::ranges::equal(bytes_of(*made), std::span{whole}.subspan(offset, wanted)));
    CHECK(made->hash.rss == 5);
    CHECK(refcnt(*packet) == 1);
    CHECK(copy(*packet, with.pool.objects(), 3000) == nullptr);
    free(made);
    free(packet);
}

TEST_CASE("linearize moves a chain into its head, or leaves it alone", "[packet][copy]")
{
    one_pool with;
    auto* packet = with.pool.alloc();
    for (int i = 0; i != 3; ++i)
        REQUIRE(chain(*packet, *with.packet_of(100)));
    const auto before = bytes_of(*packet);
    auto* shown = clone(*packet, with.pool.objects());

    CHECK_FALSE(linearize(*packet));  // others see its bytes
    CHECK(bytes_of(*packet) == before);
    free(shown);
    REQUIRE(linearize(*packet));
    CHECK((packet->is_contiguous() && packet->data_len == 300));
    CHECK(bytes_of(*packet) == before);
    CHECK(find_fault(*packet, true) == nullptr);
    CHECK(linearize(*packet));

    auto* large = with.packet_of(1200);
    CHECK_FALSE(linearize(*large));
    CHECK(bytes_of(*large) == byte_pattern(1200));
    free(large);
    free(packet);
}

TEST_CASE("read points into the packet where it can and gathers where it cannot", "[packet][copy]")
{
    one_pool with;
    auto* packet = with.packet_of(1200);
    const auto whole = byte_pattern(1200);
    std::array<std::byte, 100> scratch{};

    CHECK(read(*packet, 10, 100, scratch) == packet->bytes().data() + 10);
    CHECK(read(*packet, 500, 100, scratch) == packet->next->bytes().data());
    const auto* gathered = read(*packet, 450, 100, scratch);
    REQUIRE(gathered == scratch.data());
    CHECK(std::ranges::equal(scratch, std::span{whole}.subspan(450, 100)));
    CHECK(read(*packet, 1101, 100, scratch) == nullptr);
    CHECK(read(*packet, 450, 101, scratch) == nullptr);  // more than the scratch holds
    CHECK(read(*packet, to_the_end, 1, scratch) == nullptr);
    std::uint32_t value = 0;
    CHECK(read_value(*packet, 498, value));
    CHECK(std::memcmp(&value, whole.data() + 498, 4) == 0);
    free(packet);
}

TEST_CASE("views never reach outside a segment", "[packet][copy]")
{
    one_pool with;
    auto* packet = with.packet_of(1200);

    std::size_t bytes = 0;
    for (const auto piece : pieces(*packet))
        bytes += piece.size();
    CHECK(bytes == 1200);
    CHECK(view(*packet, 400, 100).size() == 100);
    CHECK(view(*packet, 400, 101).empty());
    CHECK(view(*packet, to_the_end, 2).empty());
    CHECK(header<std::array<std::byte, 500>>(*packet) != nullptr);
    CHECK(header<std::array<std::byte, 500>>(*packet, 1) == nullptr);
    free(packet);
}

TEST_CASE("a pool with history tells the last events of each buffer", "[packet][history]")
{
    one_pool with;
    auto* packet = with.packet_of(100);
    auto* shown = clone(*packet, with.pool.objects());
    mark(*packet, 3);
    free(packet);
    const auto events = history_of(*packet);

    REQUIRE(events.size() == 3);
    CHECK(events[0].what == mbuf_event::alloc);
    CHECK(static_cast<int>(events[1].what) == static_cast<int>(mbuf_event::user) + 3);
    CHECK(events[2].what == mbuf_event::let_go);
    CHECK(events[0].holder == with.domain->self().id);
    CHECK(events[0].ticks <= events[2].ticks);
    CHECK(history_of(*shown).back().what == mbuf_event::attach);
    for (std::uint16_t i = 0; i != 9; ++i)
        mark(*shown, i);
    CHECK(history_of(*shown).size() == 4);  // the newest
    CHECK(static_cast<int>(history_of(*shown)[0].what) == static_cast<int>(mbuf_event::user) + 5);
    free(shown);

    auto forgetful = with.domain->create_pktmbuf_pool("q", {.count = 16, .cache_size = 0});
    auto* other = forgetful.alloc();
    CHECK(history_of(*other).empty());
    free(other);
    CHECK_THROWS_WITH(
        with.domain->create_pktmbuf_pool("r", {.count = 16, .cache_size = 0, .history = 3}),
        Catch::Contains("power of two"));
}

TEST_CASE("a dump shows segments, sharing, history and bytes", "[packet][history]")
{
    one_pool with;
    auto* packet = with.packet_of(700);
    auto* shown = clone(*packet, with.pool.objects());

    const auto text = dump(*shown, 16);

    CHECK_THAT(text, Catch::Contains("pkt_len 700, nb_segs 2") && Catch::Contains(", shows 0x") &&
                         Catch::Contains("attach by member") &&
                         Catch::Contains("0000: 00 07 0e 15"));
    packet->pkt_len = 5;
    CHECK_THAT(dump(*packet), Catch::Contains("NOT SOUND: pkt_len"));
    packet->pkt_len = 700;
    free(shown);
    free(packet);
}
