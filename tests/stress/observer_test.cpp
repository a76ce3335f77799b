// Observers that are killed at any moment while packets flow.

#include "cohort/base/log.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scale.hpp"
#include "support/scratch_directory.hpp"
#include "support/seed.hpp"

#include <array>
#include <deque>
#include <filesystem>
#include <iterator>
#include <random>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::child_process;
using test::eventually;

namespace {

constexpr auto patience = 60s;

/// A flow of packets through processes of its own, and one member that watches it.
class flow {
public:
    flow()
    {
        start("primary");
        tester_ = secondary::attach("storm", 10s, "tester");
        for (const auto* role : {"sink", "worker", "source"})
            start(role);
        std::this_thread::sleep_for(300ms);  // each has learnt of each
    }

    [[nodiscard]] std::uint64_t arrived()
    {
        const auto zone = tester_->find_memzone("arrived");
        return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(zone.data())}.load();
    }
    [[nodiscard]] bool flows()
    {
        const auto before = arrived();
        return eventually([&] { return arrived() > before + 100; }, patience);
    }
    [[nodiscard]] audit_report audit_now() { return audit(audited(tester_->region())); }
    [[nodiscard]] std::vector<std::uint64_t> members()
    {
        std::vector<std::uint64_t> words;
        tester_->members().members().for_each_member(
            [&](member_id, const member_layout&, member_word word) {
                words.push_back(word.pack());
            });
        return words;
    }
    /// How many descriptors each process of the flow has open.
    [[nodiscard]] std::vector<std::ptrdiff_t> descriptors() const
    {
        std::vector<std::ptrdiff_t> counts;
        for (const auto& child : children_) {
            const std::filesystem::directory_iterator open{"/proc/" + std::to_string(child.pid()) +
                                                           "/fd"};
            counts.push_back(std::distance(begin(open), end(open)));
        }
        return counts;
    }
    [[nodiscard]] std::uint64_t deaths()
    {
        std::uint64_t count = 0;
        for (const auto& obituary : tester_->region().recovery.obituaries)
            count += obituary.number.load() != 0 ? 1 : 0;
        return count;
    }

private:
    void start(const std::string& role)
    {
        children_.push_back(child_process::spawn("flow_member", {role}, {"COHORT_LOG=off"}));
        children_.back().await("ready", patience);
    }

    test::scratch_runtime_directory directory_;
    std::deque<child_process> children_;
    std::unique_ptr<secondary::attachment> tester_;
};

}  // namespace

TEST_CASE(
    "observers that come, look and are killed at any moment change nothing of a running domain",
    "[storm][observer]")
{
    set_log_level(log_level::off);
    flow running;
    auto random = test::random_engine("observer");
    const std::array<std::vector<std::string>, 4> looks{
        {{"audit"}, {"holders", "flow"}, {"query", "/info"}, {"lanes", "--json"}}};
    const auto members = running.members();
    const auto descriptors = running.descriptors();
    const auto observers = test::scaled(200, 10'000);
    // Some look to their end, most do not.
    constexpr std::uint64_t longest_us = test::slow_sanitizer ? 200'000 : 12'000;
    std::uint64_t ended_by_themselves = 0;

    for (std::uint64_t i = 0; i != observers; ++i) {
        auto words = looks[random() % looks.size()];
        words.insert(words.end(), {"--domain", "storm"});
        auto observer = child_process::spawn("cohort", words);
        std::this_thread::sleep_for(std::chrono::microseconds{random() % longest_us});
        observer.kill();
        const auto end = observer.wait(patience);
        REQUIRE(end);
        ended_by_themselves += end->signal == 0 ? 1 : 0;
        if (i % 100 == 0)
            REQUIRE(running.flows());
    }

    CHECK(ended_by_themselves < observers);
    CHECK(ended_by_themselves != 0);
    CHECK(running.flows());
    CHECK(running.members() == members);
    CHECK(running.deaths() == 0);
    static_cast<void>(
        eventually([&] { return running.descriptors() == descriptors; }, std::chrono::seconds{5}));
    CHECK(running.descriptors() == descriptors);
    const auto report = running.audit_now();
    CAPTURE(report.faults);
    CHECK(report.clean());
}
