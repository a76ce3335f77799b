#include "cohort/packet/mbuf_external.hpp"

#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/vlan.hpp"
#include "support/eventually.hpp"
#include "support/scratch_domain.hpp"

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::eventually;
using cohort::test::scratch_domain;

namespace {

struct freed_memory {
    int times = 0;
    std::span<std::byte> memory{};
    std::uint64_t opaque = 0;
    external_call which{};
};
freed_memory last;

void note_freed(std::span<std::byte> memory, std::uint64_t opaque, external_call which) noexcept
{
    last = {last.times + 1, memory, opaque, which};
}

constexpr std::uint32_t bound = 7;
constexpr std::uint32_t unbound = 8;

/// A memzone with an info at its start, and the rest to be shown.
struct brought {
    scratch_domain domain;
    pktmbuf_pool pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    memzone zone = domain->reserve_memzone("brought", 8192);
    std::span<std::byte> memory = zone.bytes().subspan(64, 4096);

    brought()
    {
        last = {};
        REQUIRE(bind_external_free(bound, note_freed));
    }
    ~brought()
    {
        CHECK(bind_external_free(bound, nullptr));
        CHECK(domain.audit().clean());
        const auto sums = domain.audit_of("p");
        CHECK(sums.free() == sums.count);
    }
    external_info& info(std::uint32_t function)
    {
        auto& made = *::new (zone.bytes().data()) external_info;
        made.function = function;
        made.opaque = 42;
        return made;
    }
};

}  // namespace

TEST_CASE("external memory is freed once, with the last buffer that shows it", "[packet][external]")
{
    brought with;
    auto& info = with.info(bound);
    auto* packet = with.pool.alloc();

    REQUIRE(attach_external(*packet, with.memory, info));
    CHECK(packet->has_external());
    CHECK(external_info_of(*packet) == &info);
    packet->reset_headroom();
    CHECK(packet->append(3000).size() == 3000);
    CHECK(packet->bytes().data() == with.memory.data() + mbuf_headroom);
    auto* copied = clone(*packet, with.pool.objects());
    REQUIRE(copied);
    CHECK(info.refcnt() == 2);
    CHECK(copied->has_external());
    CHECK(find_fault(*copied, true) == nullptr);

    free(packet);
    CHECK(last.times == 0);
    free(copied);
    CHECK(last.times == 1);
    CHECK(last.memory.data() == with.memory.data());
    CHECK(last.memory.size() == with.memory.size());
    CHECK((last.opaque == 42 && last.which == external_call::first));
}

TEST_CASE("memory that two buffers show is written to by neither", "[packet][external]")
{
    brought with;
    auto* packet = with.pool.alloc();
    REQUIRE(attach_external(*packet, with.memory, with.info(bound)));
    packet->reset_headroom();
    REQUIRE(packet->append(60).size() == 60);
    auto* shown = clone(*packet, with.pool.objects());
    auto* tail = with.pool.alloc();
    REQUIRE((shown && tail));
    REQUIRE(tail->append(10).size() == 10);
    REQUIRE(chain(*packet, *tail));

    CHECK(is_shared(*packet));
    CHECK(is_shared(*shown));
    CHECK_FALSE(vlan_insert(*packet));
    CHECK_FALSE(vlan_insert(*shown));
    CHECK_FALSE(linearize(*packet));

    free(shown);
    CHECK_FALSE(is_shared(*packet));
    CHECK(linearize(*packet));
    CHECK(vlan_insert(*packet));
    CHECK(packet->pkt_len == 74);
    free(packet);
    CHECK(last.times == 1);
}

TEST_CASE("detach gives a buffer its own memory back", "[packet][external]")
{
    brought with;
    auto* packet = with.pool.alloc();
    REQUIRE(attach_external(*packet, with.memory, with.info(bound)));
    CHECK_FALSE(attach_external(*packet, with.memory, with.info(bound)));

    detach(*packet);

    CHECK(last.times == 1);
    CHECK(packet->is_plain());
    CHECK(packet->buf_len == with.pool.data_room());
    CHECK_FALSE(packet->has_external());
    free(packet);
}

TEST_CASE("memory whose free function is bound elsewhere waits for a member that has it",
          "[packet][external]")
{
    brought with;
    auto* packet = with.pool.alloc();
    REQUIRE(attach_external(*packet, with.memory, with.info(unbound)));

    free(packet);

    CHECK(last.times == 0);
    CHECK(with.domain.audit().clean());
    CHECK(with.domain.audit_of("p").waiting == 1);
    REQUIRE(bind_external_free(unbound, note_freed));
    CHECK(eventually([&] { return with.domain.audit_of("p").waiting == 0; }));  // the look-around
    CHECK(last.times == 1);
    CHECK(last.which == external_call::first);
    CHECK(bind_external_free(unbound, nullptr));
}

TEST_CASE("only numbers below 64 can be bound", "[packet][external]")
{
    CHECK_FALSE(bind_external_free(max_external_functions, note_freed));
    CHECK(bound_external_free(max_external_functions) == nullptr);
}

TEST_CASE("the buffers of a pinned pool keep their external memory", "[packet][external]")
{
    scratch_domain domain;
    auto first = domain->reserve_memzone("first", 64 * 1024);
    auto second = domain->reserve_memzone("second", 64 * 1024);
    const std::array pieces{first.bytes(), second.bytes()};
    auto pool = domain->create_pktmbuf_pool(
        "pinned", {.count = 60, .cache_size = 8, .data_room = 2048, .pieces = pieces});
    auto plain = domain->create_pktmbuf_pool("plain", {.count = 64, .cache_size = 8});

    std::vector<mbuf*> all;
    for (mbuf* each = nullptr; (each = pool.alloc()) != nullptr;)
        all.push_back(each);
    REQUIRE(all.size() == 60);
    for (auto* each : all) {
        CHECK(each->has_external());
        CHECK(find_fault(*each, true) == nullptr);
        const bool inside = std::ranges::any_of(pieces, [&](auto piece) {
            return each->buf_addr >= piece.data() &&
                   each->buf_addr + each->buf_len <= piece.data() + piece.size();
        });
        CHECK(inside);
        CHECK(each->append(100).size() == 100);
    }
    auto* copied = clone(*all[0], plain.objects());
    REQUIRE(copied);
    CHECK(clone(*copied, pool.objects()) == nullptr);  // nothing can be attached to a pinned buffer
    free_bulk(all);
    CHECK(domain.audit_of("pinned").shared == 1);
    free(copied);
    CHECK(domain.audit().clean());
    CHECK(domain.audit_of("pinned").in_pool + domain.audit_of("pinned").cached == 60);
}

TEST_CASE("a pinned pool is refused memory that is too small or that others do not see",
          "[packet][external]")
{
    scratch_domain domain;
    auto zone = domain->reserve_memzone("zone", 8192);
    std::vector<std::byte> own(100 * 2048);
    const std::array seen_by_all{zone.bytes()};
    const std::array seen_by_one{std::span{own}};
    const auto create = [&](std::span<const std::span<std::byte>> pieces) {
        domain->create_pktmbuf_pool(
            "pinned", {.count = 8, .cache_size = 0, .data_room = 2048, .pieces = pieces});
    };

    CHECK_THROWS_WITH(create(seen_by_all), Catch::Contains("room for 4 buffers"));
    CHECK_THROWS_WITH(create(seen_by_one), Catch::Contains("outside the domain's window"));
}
