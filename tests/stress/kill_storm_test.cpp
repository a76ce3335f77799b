// Random SIGKILLs, the primary's included, while packets flow.

#include "cohort/base/log.hpp"
#include "cohort/secondary/secondary.hpp"
#include "stress/killed_holding.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_directory.hpp"
#include "support/seed.hpp"

#include <array>
#include <cstdio>
#include <map>
#include <optional>

#include <catch2/catch.hpp>

using namespace cohort;
using test::child_process;
using test::eventually;

namespace {

constexpr auto patience = 60s;

class storm {
public:
    storm()
    {
        start("primary");
        tester_ = secondary::attach("storm", 10s, "tester");
        for (const auto* role : {"sink", "worker", "source"})
            start(role);
    }

    /// Kills that role at a moment when the region shows it holding packets, and starts it anew.
    /// Returns how many buffers the reaper found in its hands, outside its caches.
    std::uint64_t kill_holding(const std::string& role)
    {
        const auto victim = tester_->actions().find_member(role);
        REQUIRE(victim);
        REQUIRE(
            eventually([&] { return test::shows_holding(*tester_, "flow", *victim); }, patience));
        auto& process = children_.at(role);
        process.kill();
        REQUIRE(process.wait(patience));

        REQUIRE(
            eventually([&] { return test::obituary_of(*tester_, *victim) != nullptr; }, patience));
        const auto& obituary = *test::obituary_of(*tester_, *victim);
        const auto held = obituary.released.load() + obituary.redelivered.load();
        const auto cached = obituary.cached.load();
        CAPTURE(role);
        const auto report = audit(audited(tester_->region()));
        CAPTURE(report.faults);
        REQUIRE(report.clean());
        children_.erase(role);
        start(role);
        return held > cached ? held - cached : 0;
    }

    /// True when packets still arrive at the sink.
    bool flows()
    {
        const auto before = arrived();
        return eventually([&] { return arrived() > before + 100; }, patience);
    }

    /// Ends everybody but the tester; what is left in the pool afterwards.
    std::size_t end()
    {
        for (auto& [role, process] : children_)
            process.kill();
        for (auto& [role, process] : children_)
            REQUIRE(process.wait(patience));
        REQUIRE(eventually([&] { return alone(); }, patience));
        for (const auto* name : {"to_work", "to_sink"}) {
            auto ring = tester_->find_ring<mbuf*>(name).value();
            for (mbuf* packet = nullptr; ring.dequeue(packet);)
                free(packet);
        }
        return tester_->find_pktmbuf_pool("flow")->objects().available();
    }

    [[nodiscard]] audit_report audit_now() { return audit(audited(tester_->region())); }

private:
    void start(const std::string& role)
    {
        auto child = child_process::spawn("flow_member", {role}, {"COHORT_LOG=off"});
        child.await("ready", patience);
        children_.emplace(role, std::move(child));
    }

    std::uint64_t arrived()
    {
        const auto zone = tester_->find_memzone("arrived");
        return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(zone.data())}.load();
    }

    bool alone()
    {
        int members = 0;
        tester_->members().members().for_each_member(
            [&](member_id, member_layout&, member_word) { ++members; });
        return members == 1;
    }

    test::scratch_runtime_directory directory_;
    std::map<std::string, child_process> children_;
    std::unique_ptr<secondary::attachment> tester_;
};

}  // namespace

TEST_CASE("any process of a running pipeline may be killed, and nothing hangs, leaks or is left",
          "[storm]")
{
    set_log_level(log_level::off);
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
    for (const auto& [role, count] : holding)
        std::printf("kill storm: %-8s killed %d times, %d of them holding buffers\n", role.c_str(),
                    count.first, count.second);
    std::printf("kill storm: %llu buffers recovered in all\n",
                static_cast<unsigned long long>(buffers));
}
