// Workers of a stage in processes of their own, killed and stopped while they hold elements.

#include "cohort/ipc/reports.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/stage_item.hpp"
#include "support/stopped.hpp"

#include <array>
#include <deque>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

constexpr std::uint32_t capacity = 16;

class worker {
public:
    explicit worker(const std::string& name)
        : child_{child_process::spawn("stage_worker", {"scratch", name})}
    {
        child_.await("ready", patience);
    }

    void tell(const std::string& command)
    {
        child_.tell(command);
        child_.await("done", patience);
    }
    void start(const std::string& command) { child_.tell(command); }
    void stop() { test::stop(child_); }
    void go_on() { child_.kill(SIGCONT); }
    void kill()
    {
        child_.kill();
        REQUIRE(child_.wait(patience));
    }

private:
    static constexpr std::chrono::seconds patience{30};

    child_process child_;
};

/// A ring in two stages, whose producer, consumer and further worker the test is.
class staged_domain {
public:
    explicit staged_domain(std::uint32_t stall_limit_us = 50'000)
        : ring_{domain_->create_staged_ring<stage_item>(
              "s", capacity, {.stages = worked_stages, .stall_limit_us = stall_limit_us})}
    {
    }

    [[nodiscard]] staged_ring<stage_item>& ring() noexcept { return ring_; }
    [[nodiscard]] scratch_domain& domain() noexcept { return domain_; }
    /// Whose lane that is.
    [[nodiscard]] std::string name_of(lane_id lane)
    {
        const auto& all = domain_->region().members;
        return std::string{all.members[all.lanes[lane].word().member].name.view()};
    }

    /// As many as fit, up to number `end`.
    void enqueue_until(std::uint32_t end)
    {
        while (sent_ != end && ring_.enqueue({.number = sent_, .passed = {}}))
            ++sent_;
    }
    /// Passes on a batch of that stage; returns how many elements.
    std::size_t pass(std::uint32_t stage)
    {
        auto batch = ring_.acquire_burst(stage, 3);
        const auto count = batch.size();
        for (std::size_t i = 0; i != count; ++i)
            ++batch[i].passed.at(stage);
        redelivered_ += batch.redelivered() ? count : 0;
        batch.release();
        return count;
    }
    /// Takes what has passed all stages, and checks number and stages of each.
    std::size_t take()
    {
        std::array<stage_item, capacity> items{};
        const auto count = ring_.dequeue_burst(items);
        for (std::size_t i = 0; i != count; ++i) {
            REQUIRE(items[i].number == taken_++);
            REQUIRE(items[i].has_passed_all());
        }
        return count;
    }

    [[nodiscard]] std::uint32_t sent() const noexcept { return sent_; }
    [[nodiscard]] std::uint32_t taken() const noexcept { return taken_; }
    [[nodiscard]] std::size_t redelivered() const noexcept { return redelivered_; }

private:
    scratch_domain domain_;
    staged_ring<stage_item> ring_;
    std::uint32_t sent_ = 0;
    std::uint32_t taken_ = 0;
    std::size_t redelivered_ = 0;
};

}  // namespace

TEST_CASE("what a killed worker held passes its stage; behind a stopped one all waits in order",
          "[stages][stop]")
{
    staged_domain scene;
    auto& ring = scene.ring();
    scene.enqueue_until(12);
    worker killed{"killed"};
    worker stopped{"stopped"};
    killed.tell("hold 0 4");
    stopped.tell("hold 0 3");
    stopped.stop();
    killed.kill();

    // All but what the stopped one holds passes stage 0, and its first four stage 1.
    CHECK(eventually([&] {
        scene.pass(0);
        return ring.counts(0).held == 3 && ring.counts(0).waiting + ring.counts(0).abandoned == 0;
    }));
    CHECK(scene.redelivered() == 4);
    while (scene.pass(1) != 0 || scene.take() != 0) {}
    CHECK(scene.taken() == 4);

    // The producer goes on until the ring is full, and the holder is named.
    scene.enqueue_until(100);
    while (scene.pass(0) != 0) {}
    CHECK(scene.sent() == 4 + capacity);
    CHECK(scene.pass(1) == 0);
    CHECK(scene.name_of(ring.oldest(0).lane) == "stopped");
    CHECK(ring.oldest(0).count == 3);
    const auto shown = ipc::list_stages(scene.domain()->region());
    REQUIRE(shown.rows.size() == 2);
    const auto first = shown.as_json().at(0);
    CHECK(first.at("held") == 3);
    CHECK(first.at("oldest_lane") == ring.oldest(0).lane);
    CHECK(first.at("redelivered") == 2);  // three and one of the four
    CHECK_THAT(shown.rows[0].back().text(), Catch::StartsWith("stopped (lane "));
    CHECK(find_fault(ring.layout()) == nullptr);

    stopped.go_on();
    stopped.tell("release");
    while (scene.pass(1) != 0 || scene.take() != 0) {}
    CHECK(scene.taken() == 4 + capacity);
    CHECK(ring.empty());
    CHECK(scene.redelivered() == 4);
    CHECK(find_fault(ring.layout()) == nullptr);
    CHECK(scene.domain().audit().clean());
}

TEST_CASE("a worker stopped inside acquire costs others the stall limit, a killed one nothing",
          "[stages][stop]")
{
    staged_domain scene{1'000};
    auto& ring = scene.ring();
    auto& head = stage_of(ring.layout(), 0).head;
    scene.enqueue_until(8);
    worker stopped{"stopped"};
    stopped.tell("claim 0");
    stopped.stop();

    CHECK(scene.pass(0) == 0);
    CHECK(head.stalls == 1);
    CHECK(scene.name_of(head.load().lane) == "stopped");
    CHECK(ring.counts(0).waiting == 8);
    CHECK_THAT(dump(ring.layout(), "s"), Catch::Contains("1 stalls"));

    stopped.go_on();
    stopped.tell("let-go 0");
    CHECK(scene.pass(0) == 3);
    stopped.tell("claim 0");
    stopped.kill();
    CHECK(eventually([&] { return scene.pass(0) == 3; }));
    CHECK(scene.pass(0) == 2);
    while (scene.pass(1) != 0 || scene.take() != 0) {}
    CHECK(scene.taken() == 8);
    CHECK(scene.redelivered() == 0);
    CHECK(find_fault(ring.layout()) == nullptr);
}

TEST_CASE("workers of two stages killed at work lose and double nothing and keep the order",
          "[stages][kill]")
{
    constexpr std::uint32_t between_kills = 200;
    const auto kills = static_cast<std::uint32_t>(scaled(12, 400));
    const auto end = (kills + 1) * between_kills;
    staged_domain scene;
    std::deque<worker> workers;
    const auto spawn = [&](std::uint32_t number) {
        workers.emplace_back("worker" + std::to_string(number));
        workers.back().start("work " + std::to_string(number % worked_stages));
    };
    for (std::uint32_t number = 0; number != 2 * worked_stages; ++number)
        spawn(number);

    const auto flow_until = [&](std::uint32_t number) {
        REQUIRE(eventually([&] {
            for (int round = 0; round != 50; ++round) {
                scene.enqueue_until(end);
                scene.take();
            }
            return scene.taken() >= number;
        }));
    };

    // In the middle of the flow the oldest dies; another of its stage takes its place.
    for (std::uint32_t kill = 1; kill <= kills; ++kill) {
        flow_until(kill * between_kills);
        workers.front().kill();
        workers.pop_front();
        spawn(2 * worked_stages + kill - 1);
    }

    flow_until(end);

    CHECK(scene.ring().empty());
    workers.clear();
    CHECK(eventually([&] { return scene.domain().audit().clean(); }));
}

}  // namespace cohort::test
