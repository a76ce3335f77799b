#pragma once
// Memory of their own for the tester of single steps and its victims.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "fault/step_pieces.hpp"

#include <cstddef>
#include <span>

#include <catch2/catch.hpp>

namespace cohort::test {

/// A heap over memory that tester and victims map: one piece, and a second that comes and goes.
class stepped_own_memory {
public:
    /// The pieces outlive the domain, which may touch them to the end.
    stepped_own_memory(primary::owner& domain, const step_pieces& pieces)
        : heap_{domain.create_heap("own")}
        , second_{pieces.second.bytes()}
    {
        heap_.add_memory(pieces.first.bytes());
    }

    /// A call of a survivor: when the victim's piece is the heap's, it is attached, and then
    /// served.
    void proceed()
    {
        auto* block = heap_.malloc(100);
        if (!block) {
            REQUIRE(heap::last_failure().reason == errc::not_attached);
            heap_.attach_memory(second_);
            block = heap_.malloc(100);
        }
        REQUIRE(block);
        REQUIRE(heap_.free(block));
    }

    /// All is paid and sound; the second piece goes.
    void check_and_reset()
    {
        proceed();
        const auto& layout = heap_.layout();
        const auto fault = heap_.find_fault();
        CAPTURE(fault.value_or(""));
        REQUIRE(!fault);
        REQUIRE(layout.owed == 0);
        REQUIRE(layout.counters.used_blocks == 0);  // they went with the victim
        if (layout.counters.arenas == 2)
            heap_.remove_memory(second_);
        REQUIRE(layout.counters.arenas == 1);
    }

private:
    heap heap_;
    std::span<std::byte> second_;
};

}  // namespace cohort::test
