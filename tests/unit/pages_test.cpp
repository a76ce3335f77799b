// Pages come when spans need them and go when none does.

#include "cohort/memory/memory.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "support/zero_bytes.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <fcntl.h>

using namespace cohort;
using cohort::test::scratch_domain;

namespace {

const memseg_list_layout& small_list(scratch_domain& domain)
{
    const auto& memory = domain->region().memory;
    return memory.lists[memory.list_count - 1];
}

std::uint64_t published(scratch_domain& domain)
{
    return small_list(domain).published.load();
}

std::optional<std::string> fault_of(scratch_domain& domain)
{
    return domain->segments().find_fault(domain->members().who());
}

}  // namespace

TEST_CASE("pages that no span covers go back to the kernel, but for those that are kept",
          "[memory][pages]")
{
    scratch_domain domain{4_MiB};
    const auto at_start = published(domain);

    domain->reserve_memzone("large", 200_MiB);
    CHECK(published(domain) >= 200_MiB);
    CHECK(domain->release_memzone("large"));

    CHECK(published(domain) <= at_start + idle_bytes_kept(4_KiB));
    CHECK(published(domain) > at_start);
    domain->segments().give_back_idle(domain->members().who(), memory::idle_pages::all);
    CHECK(published(domain) == at_start);
    CHECK(fault_of(domain) == std::nullopt);
}

TEST_CASE("a span at the edge of the kept pages comes and goes without making a page",
          "[memory][pages]")
{
    scratch_domain domain{4_MiB};
    domain->reserve_memzone("large", 100_MiB);
    domain->release_memzone("large");
    const auto growths = small_list(domain).growths.load();
    const auto give_backs = small_list(domain).give_backs.load();

    for (std::size_t round = 0; round != 100; ++round) {
        domain->reserve_memzone("edge", idle_bytes_kept(4_KiB) - 1_MiB + 4_KiB * (round % 3));
        domain->release_memzone("edge");
    }

    CHECK(small_list(domain).growths.load() == growths);
    CHECK(small_list(domain).give_backs.load() == give_backs);
}

TEST_CASE("a memzone is zero wherever its pages have been", "[memory][pages]")
{
    scratch_domain domain{2_MiB};
    auto random = test::random_engine("pages");

    for (int round = 0; round != 40; ++round) {
        const auto zone = domain->reserve_memzone("dirty", 1_MiB + random() % 60_MiB);
        CHECK(test::is_zero(zone));
        std::memset(zone.data(), 0xee, zone.size());
        domain->release_memzone("dirty");
        if (round % 7 == 0)
            domain->segments().give_back_idle(domain->members().who(), memory::idle_pages::all);
    }
}

TEST_CASE("after any sequence of spans exactly the published pages exist", "[memory][pages]")
{
    scratch_domain domain{4_MiB};
    auto random = test::random_engine("pages");
    std::vector<std::string> held;

    for (int round = 0; round != 400; ++round) {
        if (held.size() < 20 && random() % 2 == 0) {
            held.push_back(fmt::format("z{}", round));
            domain->reserve_memzone(held.back(), 1 + random() % 12_MiB,
                                    {.alignment = std::size_t{64} << random() % 10});
        } else if (!held.empty()) {
            std::swap(held[random() % held.size()], held.back());
            domain->release_memzone(held.back());
            held.pop_back();
        }
        REQUIRE(fault_of(domain) == std::nullopt);
    }
}

TEST_CASE("an arena that its heap gives back takes its pages along", "[memory][pages][heap]")
{
    scratch_domain domain{4_MiB};
    auto heap = domain->heap();
    auto* first = heap.malloc(100);
    const auto before = published(domain);

    auto* kept = heap.malloc(100_MiB);
    auto* large = heap.malloc(150_MiB);
    REQUIRE(large);
    std::memset(large, 1, 150_MiB);
    CHECK(published(domain) > before + 249_MiB);
    heap.free(kept);  // the one empty arena that a heap keeps
    heap.free(large);

    CHECK(published(domain) <= before + 101_MiB + idle_bytes_kept(4_KiB));
    heap.free(first);
    CHECK(heap.find_fault() == std::nullopt);
    CHECK(fault_of(domain) == std::nullopt);
}

TEST_CASE("a limit of a node or of a page size is kept, and says so", "[memory][pages][limits]")
{
    scratch_domain by_node{{.memory = 8_MiB, .node_limits = {16_MiB}, .huge = huge_policy::none}};
    CHECK_THROWS_WITH(by_node->reserve_memzone("much", 20_MiB),
                      Catch::Contains("on node 0, where 8 MiB of at most 16 MiB are in use") &&
                          Catch::Contains("--numa-limit"));
    CHECK(fault_of(by_node) == std::nullopt);

    scratch_domain by_size{
        {.memory = 8_MiB, .page_limits = {{page_size::small, 12_MiB}}, .huge = huge_policy::none}};
    CHECK_THROWS_WITH(by_size->reserve_memzone("much", 20_MiB),
                      Catch::Contains("in pages of 4 KiB, where 8 MiB of at most 12 MiB are in "
                                      "use"));
    CHECK_NOTHROW(by_size->reserve_memzone("little", 2_MiB));
}

TEST_CASE("a size that cannot be had is an error, and nothing has changed", "[memory][limits]")
{
    scratch_domain domain{{.memory = 4_MiB, .node_limits = {48_MiB}, .huge = huge_policy::none}};
    auto heap = domain->heap();
    auto random = test::random_engine("shortage");
    std::size_t refused = 0;

    for (int round = 0; round != 1000; ++round) {
        const auto bytes = std::size_t{1} << random() % 40;
        const auto before = published(domain);
        try {
            const auto zone = domain->reserve_memzone("zone", bytes + random() % bytes);
            zone.data()[zone.size() - 1] = std::byte{1};
            domain->release_memzone(zone);
        } catch (const error& shortage) {
            ++refused;
            REQUIRE(shortage.reason() == errc::no_memory);
            REQUIRE(published(domain) == before);
        }
        auto* block = static_cast<char*>(heap.malloc(bytes));
        if (block)
            block[bytes - 1] = 1;
        else
            REQUIRE(heap::last_failure().reason != errc{});
        REQUIRE(heap.free(block));
    }

    CHECK(refused > 100);
    CHECK(fault_of(domain) == std::nullopt);
    CHECK(heap.find_fault() == std::nullopt);
}

TEST_CASE("a walk visits each page once, and a page is found by any address in it",
          "[memory][walk]")
{
    scratch_domain domain{4_MiB};
    const auto far = domain->reserve_memzone("far", 60_MiB);
    const auto near = domain->reserve_memzone("near", 1_MiB);
    domain->release_memzone(near);
    const auto& memory = domain->region().memory;

    std::uint64_t in_pages = 0;
    std::uint64_t in_runs = 0;
    for_each_memseg(memory, [&](const memseg& page) { in_pages += page.bytes; });
    for_each_memseg_run(memory, [&](const memseg& run) { in_runs += run.bytes; });

    CHECK(in_pages == published(domain));
    CHECK(in_runs == in_pages);
    const auto page = find_memseg(memory, far.data() + 5000);
    REQUIRE(page);
    CHECK(page->page_bytes == 4_KiB);
    CHECK(page->address <= reinterpret_cast<std::uintptr_t>(far.data() + 5000));
    CHECK(page->numa_node == 0);
    CHECK_FALSE(find_memseg(memory, &domain));
    CHECK_FALSE(find_memseg(memory, reinterpret_cast<void*>(small_list(domain).base + 10_GiB)));
    const auto usage = usage_of(memory, 0);
    CHECK(usage.used >= 60_MiB);
    CHECK(usage.largest_free <= usage.published - usage.used);
    const auto text = describe_memory(memory);
    CHECK_THAT(text, Catch::Contains("list 0: pages of 4 KiB on node 0"));
    CHECK_THAT(text, Catch::Contains("far") && Catch::Contains("60 MiB"));
}

TEST_CASE("as many names fit as the primary chose", "[memory][limits]")
{
    scratch_domain domain{{.memory = 4_MiB, .huge = huge_policy::none, .max_zones = 100}};
    std::size_t made = 0;

    CHECK_THROWS_WITH(
        [&] {
            for (;; ++made)
                domain->reserve_memzone(fmt::format("zone{}", made), 64);
        }(),
        Catch::Contains("all 100 are in use") && Catch::Contains("--max-zones"));

    CHECK(made > 50);
    CHECK(domain->find_memzone("zone0").size() == 64);
}

TEST_CASE("the audit names a page that is missing, or that somebody made by reading a hole",
          "[memory][pages]")
{
    scratch_domain domain{
        {.memory = 4_MiB, .huge = huge_policy::none, .dispatch = ipc::dispatching::by_caller}};
    domain->reserve_memzone("large", 20_MiB);
    domain->release_memzone("large");  // its pages are kept for the next
    REQUIRE(domain.audit().clean());
    const auto& list = small_list(domain);
    const auto& files = domain->segments().segment_files();
    const int fd = files[domain->region().memory.list_count - 1].get();
    const auto pages = published(domain) / 4_KiB;
    const auto said = [&](std::uint64_t exist) {
        return std::vector{
            fmt::format("memseg list 0: {} pages exist and {} are published", exist, pages)};
    };

    SECTION("missing")
    {
        REQUIRE(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            static_cast<off_t>(list.top.load() - 4_KiB), 4_KiB) == 0);
        CHECK(domain.audit().faults == said(pages - 1));
    }
    SECTION("made")
    {
        const auto hole = list.base + list.max_bytes - 4_KiB;
        CHECK(std::atomic_ref{*reinterpret_cast<char*>(hole)}.load() == 0);
        CHECK(domain.audit().faults == said(pages + 1));
        domain->poll();  // looks around
        CHECK(domain.audit().faults == std::vector<std::string>{});
    }
}

TEST_CASE("pages that come and go while an audit looks are no fault", "[memory][pages][threads]")
{
    scratch_domain domain{4_MiB};
    std::atomic<bool> over{false};
    std::thread worker{[&] {
        while (!over) {
            domain->reserve_memzone("large", 40_MiB);
            domain->release_memzone("large");
            domain->give_back_memory();
        }
    }};
    for (int round = 0; round != 200; ++round) {
        const auto report = domain.audit();
        CAPTURE(report.faults);
        CHECK(report.clean());
    }
    over = true;
    worker.join();
    CHECK(fault_of(domain) == std::nullopt);
}
