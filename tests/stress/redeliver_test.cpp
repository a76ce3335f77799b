// Random SIGKILLs among stages whose work must be done exactly once.

#include "stress/killed_holding.hpp"
#include "stress/redo_work.hpp"
#include "stress/role_processes.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/seed.hpp"

#include <array>
#include <cstdio>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::eventually;

namespace {

const std::array<std::string, 5> roles{"primary", "1", "2", "3", "4"};

/// Sends numbered packets through the stages and looks at each that arrives.
class pipeline_of_stages {
public:
    /// Kills that role, a stage while the region shows it holding packets, and starts it anew.
    /// Returns how many packets came back into the pipeline from it.
    std::uint64_t kill(const std::string& role)
    {
        const auto victim = members_->actions().find_member(role).value();
        REQUIRE(while_pumping(
            [&] { return role == "primary" || test::shows_holding(*members_, "redo", victim); }));
        REQUIRE(members_.kill(role));
        REQUIRE(while_pumping([&] { return test::obituary_of(*members_, victim) != nullptr; }));
        const auto came_back = test::obituary_of(*members_, victim)->redelivered.load();
        members_.start_anew(role);
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
        REQUIRE(members_.kill_all());
        CHECK(eventually([&] { return pool_.objects().available() == test::redo_packets; },
                         test::role_processes::patience));
        return pool_.objects().available();
    }

    [[nodiscard]] audit_report audit_now() const { return members_.audit_now(); }
    [[nodiscard]] std::uint64_t sent() const { return seen_.size(); }
    [[nodiscard]] std::uint64_t twice() const { return twice_; }
    [[nodiscard]] std::uint64_t wrong() const { return wrong_; }

private:
    /// Looks without a pause: a stage holds packets for microseconds.
    template <typename Condition>
    bool while_pumping(Condition condition)
    {
        const auto until = std::chrono::steady_clock::now() + test::role_processes::patience;
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
        for (mbuf* packet = nullptr; (packet = pool_.alloc()) != nullptr;) {
            const auto place = packet->append(sizeof(test::numbered_value));
            *reinterpret_cast<test::numbered_value*>(place.data()) = {seen_.size(), 0};
            seen_.push_back(false);
            static_cast<void>(to_first_.enqueue(packet));  // it has room for all there are
        }
    }

    void receive()
    {
        for (mbuf* packet = nullptr; from_last_.dequeue(packet); free(packet)) {
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

    test::role_processes members_{"redo_stage", "redo", {"1", "2", "3", "4"}};
    pktmbuf_pool pool_ = members_->find_pktmbuf_pool("redo").value();
    ring<mbuf*> to_first_ = members_->find_ring<mbuf*>(test::ring_of_stage(1)).value();
    ring<mbuf*> from_last_ =
        members_->find_ring<mbuf*>(test::ring_of_stage(test::redo_stages + 1)).value();
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
