// Random SIGKILLs among stages whose work must be done exactly once.

#include "cohort/base/log.hpp"
#include "cohort/secondary/secondary.hpp"
#include "stress/killed_holding.hpp"
#include "stress/redo_work.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_directory.hpp"
#include "support/seed.hpp"

#include <array>
#include <cstdio>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::child_process;
using test::eventually;

namespace {

constexpr auto patience = 60s;
const std::array<std::string, 5> roles{"primary", "1", "2", "3", "4"};

/// Sends numbered packets through the stages and looks at each that arrives.
class pipeline_of_stages {
public:
    pipeline_of_stages()
    {
        start("primary");
        tester_ = secondary::attach("redo", 10s, "tester");
        for (const auto& role : roles)
            if (role != "primary")
                start(role);
        pool_ = tester_->find_pktmbuf_pool("redo");
        to_first_ = tester_->find_ring<mbuf*>(test::ring_of_stage(1));
        from_last_ = tester_->find_ring<mbuf*>(test::ring_of_stage(test::redo_stages + 1));
    }

    /// Kills that role, a stage while the region shows it holding packets, and starts it anew.
    /// Returns how many packets came back into the pipeline from it.
    std::uint64_t kill(const std::string& role)
    {
        const auto victim = tester_->actions().find_member(role).value();
        REQUIRE(while_pumping(
            [&] { return role == "primary" || test::shows_holding(*tester_, "redo", victim); }));
        auto& process = children_.at(role);
        process.kill();
        REQUIRE(process.wait(patience));
        REQUIRE(while_pumping([&] { return test::obituary_of(*tester_, victim) != nullptr; }));
        const auto came_back = test::obituary_of(*tester_, victim)->redelivered.load();
        children_.erase(role);
        start(role);
        return came_back;
    }

    void await_all()
    {
        feeding_ = false;
        REQUIRE(while_pumping([&] { return arrived_ == sent(); }));
    }

    /// Kills everybody; what the pool holds afterwards.
    std::size_t end()
    {
        for (auto& [role, process] : children_)
            process.kill();
        for (auto& [role, process] : children_)
            REQUIRE(process.wait(patience));
        CHECK(eventually([&] { return pool_->objects().available() == test::redo_packets; },
                         patience));
        return pool_->objects().available();
    }

    [[nodiscard]] audit_report audit_now() { return audit(audited(tester_->region())); }
    [[nodiscard]] std::uint64_t sent() const { return seen_.size(); }
    [[nodiscard]] std::uint64_t twice() const { return twice_; }
    [[nodiscard]] std::uint64_t wrong() const { return wrong_; }

private:
    void start(const std::string& role)
    {
        auto child = child_process::spawn("redo_stage", {role}, {"COHORT_LOG=off"});
        child.await("ready", patience);
        children_.emplace(role, std::move(child));
    }

    /// Looks without a pause: a stage holds packets for microseconds.
    template <typename Condition>
    bool while_pumping(Condition condition)
    {
        const auto until = std::chrono::steady_clock::now() + patience;
        while (!condition()) {
            if (std::chrono::steady_clock::now() > until)
                return false;
            if (feeding_)
                send();
            receive();
        }
        return true;
    }

    void send()
    {
        for (mbuf* packet = nullptr; (packet = pool_->alloc()) != nullptr;) {
            const auto place = packet->append(sizeof(test::numbered_value));
            *reinterpret_cast<test::numbered_value*>(place.data()) = {seen_.size(), 0};
            seen_.push_back(false);
            static_cast<void>(to_first_->enqueue(packet));  // it has room for all there are
        }
    }

    void receive()
    {
        for (mbuf* packet = nullptr; from_last_->dequeue(packet); free(packet)) {
            const auto [number, value] = *packet->data<test::numbered_value>();
            if (number >= seen_.size()) {
                ++wrong_;
                continue;
            }
            twice_ += seen_[number];
            arrived_ += !seen_[number];
            wrong_ += value != 1234;
            seen_[number] = true;
        }
    }

    test::scratch_runtime_directory directory_;
    std::map<std::string, child_process> children_;
    std::unique_ptr<secondary::attachment> tester_;
    std::optional<pktmbuf_pool> pool_;
    std::optional<ring<mbuf*>> to_first_;
    std::optional<ring<mbuf*>> from_last_;
    std::vector<bool> seen_;  // by number
    std::uint64_t arrived_ = 0;
    std::uint64_t twice_ = 0;
    std::uint64_t wrong_ = 0;
    bool feeding_ = true;
};

}  // namespace

TEST_CASE(
    "packets that pass four stages come out once, with the work of each done once, whoever is "
    "killed",
    "[storm][redeliver]")
{
    set_log_level(log_level::off);
    pipeline_of_stages flow;
    auto random = test::random_engine("redeliver");
    const auto kills = test::scaled(50, 10'000);
    std::uint64_t came_back = 0;
    std::uint64_t of_some = 0;

    for (std::uint64_t i = 0; i != kills; ++i) {
        const auto again = flow.kill(roles[random() % roles.size()]);
        came_back += again;
        of_some += again != 0;
        if (i % 20 == 0)
            REQUIRE(flow.audit_now().clean());
    }
    flow.await_all();

    CHECK(flow.twice() == 0);
    CHECK(flow.wrong() == 0);
    CHECK(of_some * 8 > kills);
    CHECK(flow.end() == test::redo_packets);
    CHECK(flow.audit_now().clean());
    std::printf(
        "redeliver storm: %llu packets, %llu kills; %llu packets came back from %llu of them\n",
        static_cast<unsigned long long>(flow.sent()), static_cast<unsigned long long>(kills),
        static_cast<unsigned long long>(came_back), static_cast<unsigned long long>(of_some));
}
