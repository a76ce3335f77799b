// Observers that are killed at any moment while packets flow.

#include "stress/role_processes.hpp"
#include "support/eventually.hpp"
#include "support/open_descriptors.hpp"
#include "support/scale.hpp"
#include "support/seed.hpp"

#include <array>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using test::child_process;
using test::eventually;
using test::role_processes;

namespace {

std::vector<std::uint64_t> words_of_members(domain& with)
{
    std::vector<std::uint64_t> words;
    with.members().members().for_each_member(
        [&](member_id, const member_layout&, member_word word) { words.push_back(word.pack()); });
    return words;
}

/// How many descriptors each process has open.
std::vector<std::size_t> descriptors_of(const role_processes& members)
{
    std::vector<std::size_t> counts;
    for (const auto& [role, process] : members.all())
        counts.push_back(test::open_descriptors(std::to_string(process.pid())));
    return counts;
}

/// Once each has learnt of each: as many as half a second before.
std::vector<std::size_t> settled_descriptors_of(const role_processes& members)
{
    std::vector<std::size_t> before;
    auto seen = descriptors_of(members);
    for (int i = 0; i != 100 && before != seen; ++i) {
        before = seen;
        std::this_thread::sleep_for(500ms);
        seen = descriptors_of(members);
    }
    return seen;
}

std::uint64_t deaths_in(domain& with)
{
    std::uint64_t count = 0;
    for (const auto& obituary : with.region().recovery.obituaries)
        count += obituary.number.load() != 0 ? 1 : 0;
    return count;
}

}  // namespace

TEST_CASE(
    "observers that come, look and are killed at any moment change nothing of a running domain",
    "[storm][observer]")
{
    role_processes running{"flow_member", "storm", {"sink", "worker", "source"}};
    auto random = test::random_engine("observer");
    const std::array<std::vector<std::string>, 8> looks{{{"audit"},
                                                         {"holders", "flow"},
                                                         {"query", "/info"},
                                                         {"lanes", "--json"},
                                                         {"ps"},
                                                         {"zones"},
                                                         {"rings"},
                                                         {"pools"}}};
    const auto members = words_of_members(*running);
    const auto descriptors = settled_descriptors_of(running);
    const auto observers = test::scaled(200, 10'000);
    constexpr std::uint64_t longest_us = test::slow_sanitizer ? 400'000 : 24'000;
    std::uint64_t killed = 0;
    std::uint64_t refused = 0;

    for (std::uint64_t i = 0; i != observers; ++i) {
        auto words = looks[random() % looks.size()];
        words.insert(words.end(), {"--domain", "storm"});
        auto observer = child_process::spawn("cohort", words);
        if (i % looks.size() != 0) {  // some may look to their end
            std::this_thread::sleep_for(std::chrono::microseconds{random() % longest_us});
            observer.kill();
        }
        const auto end = observer.wait(role_processes::patience);
        REQUIRE(end);
        killed += end->signal != 0 ? 1 : 0;
        refused += end->signal == 0 && end->code != 0 ? 1 : 0;
        if (i % 100 == 0)
            REQUIRE(test::flows(*running));
    }

    CHECK(killed != 0);
    CHECK(refused == 0);
    CHECK(test::flows(*running));
    CHECK(words_of_members(*running) == members);
    CHECK(deaths_in(*running) == 0);
    static_cast<void>(eventually([&] { return descriptors_of(running) == descriptors; },
                                 std::chrono::seconds{5}));
    CHECK(descriptors_of(running) == descriptors);
    const auto report = running.audit_now();
    CAPTURE(report.faults);
    CHECK(report.clean());
}
