// Nodes: of a machine that a test makes up.

#include "cohort/memory/numa.hpp"

#include "cohort/base/error.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <cstring>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

primary::start_options two_nodes()
{
    return {.node_memory = {8_MiB, 4_MiB}, .huge = huge_policy::none, .emulated_nodes = 2};
}

const memseg_list_layout& list_of_zone(scratch_domain& domain, const void* at)
{
    const auto* list = list_of(domain->region().memory, reinterpret_cast<std::uintptr_t>(at));
    REQUIRE(list);
    return *list;
}

/// Two nodes, of which the kernel gives always the same.
class unruly_numa final : public numa_system {
public:
    unruly_numa(int here, int pages_from) : here_{here}, pages_from_{pages_from} {}
    [[nodiscard]] int count() const noexcept override { return 2; }
    [[nodiscard]] int current() const noexcept override { return here_; }
    void place_on(int) const noexcept override {}
    [[nodiscard]] int node_of(const void*) const noexcept override { return pages_from_; }

private:
    int here_;
    int pages_from_;
};

}  // namespace

TEST_CASE("each node has its lists and its memory of the start", "[memory][numa]")
{
    scratch_domain domain{two_nodes()};
    const auto& memory = domain->region().memory;

    REQUIRE(memory.list_count == 2);
    CHECK(memory.lists[0].numa_node == 0);
    CHECK(memory.lists[0].published.load() == 8_MiB);
    CHECK(memory.lists[1].numa_node == 1);
    CHECK(memory.lists[1].published.load() >= 4_MiB);
}

TEST_CASE("a span lies on the node asked for, else on the caller's", "[memory][numa]")
{
    scratch_domain domain{two_nodes()};
    const unruly_numa on_one{1, any_numa_node};
    domain->segments().use(on_one);

    const auto zero = domain->reserve_memzone("zero", 64_KiB, {.numa_node = 0});
    const auto one = domain->reserve_memzone("one", 64_KiB, {.numa_node = 1});
    const auto here = domain->reserve_memzone("here", 64_KiB);

    CHECK(list_of_zone(domain, zero.data()).numa_node == 0);
    CHECK(list_of_zone(domain, one.data()).numa_node == 1);
    CHECK(list_of_zone(domain, here.data()).numa_node == 1);
}

TEST_CASE("a heap of a node takes its memory there, and only there", "[memory][numa][heap]")
{
    auto options = two_nodes();
    options.node_limits = {0, 24_MiB};
    scratch_domain domain{options};
    auto zero = domain->heap(0);
    auto one = domain->heap(1);

    auto* on_zero = zero.malloc(5_MiB);
    auto* on_one = one.malloc(5_MiB);
    REQUIRE(on_zero);
    REQUIRE(on_one);
    CHECK(list_of_zone(domain, on_zero).numa_node == 0);
    CHECK(list_of_zone(domain, on_one).numa_node == 1);
    CHECK(one.malloc(40_MiB) == nullptr);
    CHECK_THAT(heap::last_failure().sentence, Catch::Contains("on node 1"));
    CHECK_FALSE(zero.free(on_one));
    CHECK(one.free(on_one));
    CHECK(zero.free(on_zero));
}

TEST_CASE("a heap of all nodes serves on the caller's node, and goes elsewhere when that is full",
          "[memory][numa][heap]")
{
    auto options = two_nodes();
    options.node_limits = {0, 24_MiB};
    scratch_domain domain{options};
    const unruly_numa on_one{1, any_numa_node};
    domain->segments().use(on_one);
    auto any = domain->heap();
    auto zero = domain->heap(0);
    auto one = domain->heap(1);

    auto* near = any.malloc(5_MiB);
    auto* far = any.malloc(40_MiB);

    REQUIRE(near);
    REQUIRE(far);
    CHECK(list_of_zone(domain, near).numa_node == 1);
    CHECK(list_of_zone(domain, far).numa_node == 0);
    CHECK(domain->heap_of(near).value() == one);
    CHECK(domain->heap_of(far).value() == zero);
    CHECK(domain->heap_of(far).value().numa_node() == 0);
    CHECK(any.numa_node() == any_numa_node);
    CHECK_FALSE(any == zero);

    CHECK(one.malloc(40_MiB) == nullptr);  // a node that is demanded is no hint
    CHECK_THAT(heap::last_failure().sentence, Catch::Contains("on node 1"));
    CHECK_FALSE(any.find_fault().has_value());
    CHECK(any.free(near));
    CHECK(any.free(far));
    CHECK_FALSE(any.free(far));
    CHECK(zero.layout().counters.used_blocks.load() == 0);
    CHECK(one.layout().counters.used_blocks.load() == 0);
}

TEST_CASE("when no node has room a heap of all nodes says so, and what the caller's node said",
          "[memory][numa][heap]")
{
    auto options = two_nodes();
    options.node_limits = {24_MiB, 24_MiB};
    scratch_domain domain{options};
    const unruly_numa on_one{1, any_numa_node};
    domain->segments().use(on_one);
    auto any = domain->heap();

    CHECK(any.malloc(40_MiB) == nullptr);
    CHECK(heap::last_failure().reason == errc::no_memory);
    CHECK_THAT(heap::last_failure().sentence,
               Catch::Contains("on node 1") && Catch::Contains("no other of the 2 nodes"));
    CHECK(any.allocate({.bytes = 64, .alignment = 3}) == nullptr);
    CHECK(heap::last_failure().reason == errc::invalid_argument);
    CHECK_THROWS_WITH(domain->heap(2), Catch::Contains("there is no node 2; the domain has 2"));
    CHECK_THROWS_AS(domain->heap(-2), error);
}

TEST_CASE("a block keeps its contents and is found when realloc takes it to another node",
          "[memory][numa][heap]")
{
    auto options = two_nodes();
    options.node_limits = {0, 24_MiB};
    scratch_domain domain{options};
    const unruly_numa on_one{1, any_numa_node};
    domain->segments().use(on_one);
    auto any = domain->heap();
    const auto type = any.type("moved");
    auto* block = static_cast<char*>(any.malloc(1_MiB, type));
    REQUIRE(block);
    std::memset(block, 'x', 1_MiB);

    auto* moved = static_cast<char*>(any.realloc(block, 40_MiB));

    REQUIRE(moved);
    CHECK(list_of_zone(domain, moved).numa_node == 0);
    CHECK(std::all_of(moved, moved + 1_MiB, [](char each) { return each == 'x'; }));
    CHECK(any.usable_bytes(moved) >= 40_MiB);
    CHECK(any.info(moved).value().type == "moved");
    CHECK(domain->heap(1).layout().counters.used_blocks.load() == 0);
    CHECK(any.trim());
    CHECK_FALSE(any.find_fault().has_value());
    CHECK(any.free(moved));
}

TEST_CASE("a type of blocks has one number on all nodes", "[memory][numa][heap]")
{
    scratch_domain domain{two_nodes()};
    auto one = domain->heap(1);
    const auto rare = one.type("rare");
    const auto routes = domain->heap().type("routes");

    CHECK(rare != routes);
    CHECK(domain->heap(0).type("rare") == rare);
    CHECK(one.type("routes") == routes);
    auto* block = one.malloc(100, routes);
    CHECK(one.info(block).value().type == "routes");
    CHECK(domain->heap().info(block).value().type == "routes");
    CHECK(one.free(block));
}

TEST_CASE("with one node the heap of all nodes is that node's", "[memory][numa][heap]")
{
    scratch_domain domain;

    CHECK(domain->heap() == domain->heap(0));
    CHECK(domain->heap().numa_node() == 0);
}

TEST_CASE("when a node is full a demand for it fails, a hint goes elsewhere and says so",
          "[memory][numa]")
{
    auto options = two_nodes();
    options.node_limits = {0, 4_MiB};
    scratch_domain domain{options};

    CHECK_THROWS_WITH(domain->reserve_memzone("demand", 6_MiB, {.numa_node = 1}),
                      Catch::Contains("on node 1"));
    const auto hinted =
        domain->reserve_memzone("hint", 6_MiB, {.numa_node = 1, .node_hint_only = true});

    CHECK(list_of_zone(domain, hinted.data()).numa_node == 0);
    const auto* entry = domain->segments().find(zone_kind::memzone, "hint");
    REQUIRE(entry);
    CHECK((entry->flags & zone_off_node) != 0);
    CHECK(domain->segments().find_fault(domain->members().who()) == std::nullopt);
}

TEST_CASE("pages that the kernel takes from another node are given back", "[memory][numa]")
{
    scratch_domain domain{two_nodes()};
    const unruly_numa wrong{0, 1};
    domain->segments().use(wrong);
    const auto before = domain->region().memory.lists[0].published.load();

    CHECK_THROWS_WITH(domain->reserve_memzone("here", 32_MiB, {.numa_node = 0}),
                      Catch::Contains("took pages for node 0 from node 1"));

    CHECK(domain->region().memory.lists[0].published.load() == before);
    CHECK(domain->segments().find_fault(domain->members().who()) == std::nullopt);
    const auto hinted =
        domain->reserve_memzone("there", 32_MiB, {.numa_node = 0, .node_hint_only = true});
    CHECK(list_of_zone(domain, hinted.data()).numa_node == 1);
}

TEST_CASE("the nodes of an emulation are shared out among the processors", "[numa]")
{
    CHECK(emulated_numa(1).current() == 0);
    CHECK(emulated_numa(3).count() == 3);
    CHECK(emulated_numa(100).count() == 8);
    CHECK(machine_numa().count() >= 1);
    CHECK(machine_numa().current() < machine_numa().count());
}
