// Random SIGKILLs, the primary's included, while packets flow.

#include "process/living_domain.hpp"
#include "stress/killed_holding.hpp"
#include "stress/role_processes.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/seed.hpp"

#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <string>

#include <catch2/catch.hpp>

using namespace cohort;
using test::eventually;

namespace {

class storm {
public:
    /// Kills that role at a moment when the region shows it holding packets, and starts it anew.
    /// Returns how many buffers the reaper found in its hands, outside its caches.
    std::uint64_t kill_holding(const std::string& role)
    {
        const auto victim = members_->actions().find_member(role);
        REQUIRE(victim);
        REQUIRE(eventually([&] { return test::shows_holding(*members_, "flow", *victim); },
                           test::role_processes::patience));
        REQUIRE(members_.kill(role));

        REQUIRE(eventually([&] { return test::obituary_of(*members_, *victim) != nullptr; },
                           test::role_processes::patience));
        const auto& obituary = *test::obituary_of(*members_, *victim);
        const auto held = obituary.released.load() + obituary.redelivered.load();
        const auto cached = obituary.cached.load();
        CAPTURE(role);
        const auto report = members_.audit_now();
        CAPTURE(report.faults);
        REQUIRE(report.clean());
        members_.start_anew(role);
        return held > cached ? held - cached : 0;
    }

    /// Ends everybody but this process; what is left in the pool afterwards.
    std::size_t end()
    {
        REQUIRE(members_.kill_all());
        REQUIRE(eventually([&] { return alone(); }, test::role_processes::patience));
        for (const auto* name : {"to_work", "to_sink"}) {
            auto ring = members_->find_ring<mbuf*>(name).value();
            for (mbuf* packet = nullptr; ring.dequeue(packet);)
                free(packet);
        }
        return members_->find_pktmbuf_pool("flow")->objects().available();
    }

    /// Leaves, so that nobody is left. True when nothing is left either, and the next start of that
    /// name needs no help.
    bool leaves_nothing()
    {
        members_.leave();
        const bool nothing = test::await_no_new_object(objects_before_);
        members_.start_anew("primary");
        return nothing && members_.kill("primary");
    }

    [[nodiscard]] bool flows() { return test::flows(*members_); }
    [[nodiscard]] audit_report audit_now() const { return members_.audit_now(); }

private:
    bool alone()
    {
        int members = 0;
        members_->members().members().for_each_member(
            [&](member_id, member_layout&, member_word) { ++members; });
        return members == 1;
    }

    std::set<std::string> objects_before_ = test::shared_memory_objects();
    test::role_processes members_{"flow_member", "storm", {"sink", "worker", "source"}};
};

}  // namespace

TEST_CASE("any process of a running pipeline may be killed, and nothing hangs, leaks or is left",
          "[storm]")
{
    storm flow;
    auto random = test::random_engine("storm");
    const std::array<std::string, 4> roles{"primary", "source", "worker", "sink"};
    const auto kills = test::scaled(200, 10'000);
    std::map<std::string, std::pair<int, int>> holding;  // role -> kills, of these holding
    std::uint64_t held_kills = 0;
    std::uint64_t buffers = 0;

    for (std::uint64_t i = 0; i != kills; ++i) {
        const auto& role = roles[random() % roles.size()];
        const auto held = flow.kill_holding(role);
        buffers += held;
        held_kills += held > 0;
        ++holding[role].first;
        holding[role].second += held > 0;
        if (i % 20 == 0)
            REQUIRE(flow.flows());
    }

    CHECK(flow.flows());
    CHECK(flow.end() == 4096);
    CHECK(flow.audit_now().clean());
    CHECK(held_kills * 2 > kills);
    CHECK(flow.leaves_nothing());
    for (const auto& [role, count] : holding)
        std::printf("kill storm: %-8s killed %d times, %d of them holding buffers\n", role.c_str(),
                    count.first, count.second);
    std::printf("kill storm: %llu buffers recovered in all\n",
                static_cast<unsigned long long>(buffers));
}
