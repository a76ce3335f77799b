// Random work of several processes on one heap, with a look at the contents of each block.

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"
#include "support/sound_heap.hpp"

#include <deque>
#include <string>

#include <catch2/catch.hpp>

using namespace cohort;
using test::child_process;
using test::eventually;
using test::scratch_domain;

namespace {

constexpr std::chrono::seconds churn_patience{120};

}  // namespace

TEST_CASE("blocks of a heap keep their contents while processes churn, pass them on, and one is "
          "killed",
          "[heap][process]")
{
    scratch_domain domain;
    auto heap = domain->heap();
    auto passed_on = domain->create_ring<void*>("blocks", 64);
    auto random = test::random_engine("churn");
    const auto operations = test::scaled(20'000, 1'000'000);
    const auto without_end = operations * 1'000'000;
    std::deque<child_process> churners;
    for (int i = 0; i != 3; ++i)
        churners.push_back(child_process::spawn(
            "churner", {"scratch", "churner" + std::to_string(i), std::to_string(random()),
                        std::to_string(i == 0 ? without_end : operations)}));
    for (auto& each : churners)
        each.await("churning", churn_patience);

    const auto dead = domain->actions().find_member("churner0").value().id;
    churners.front().kill();
    churners.pop_front();

    for (auto& each : churners) {
        each.await("done", churn_patience);
        CHECK(each.wait(churn_patience) == test::exit_status{});
    }
    REQUIRE(eventually([&] { return domain->region().recovery.deaths.load() >= 3; }));
    for (void* block = nullptr; passed_on.dequeue(block);)
        CHECK(heap.free(block));
    test::require_sound(heap);
    std::size_t of_others = 0;  // it may have had one such block in hand
    heap.for_each_block(
        [&](const void*, const heap_block_info& info) { of_others += info.owner != dead; });
    CHECK(of_others <= 1);
    CHECK(domain.audit().clean());
}
