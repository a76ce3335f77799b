#include "cohort/domain/region_layout.hpp"
#include "cohort/memory/window.hpp"
#include "cohort/secondary/secondary.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/open_descriptors.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/personality.h>

namespace cohort::test {
namespace {

// The builds of attach_probe; a build that is sanitized as a whole has only the first two.
const std::vector<std::string> all_probes{"attach_probe_pie", "attach_probe_no_pie",
                                          "attach_probe_address", "attach_probe_thread"};

std::vector<std::string> probes()
{
    std::vector<std::string> built;
    const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    for (const auto& name : all_probes)
        if (std::filesystem::exists(here / name))
            built.push_back(name);
    return built;
}

bool addresses_are_random()
{
    int setting = 0;
    std::ifstream{"/proc/sys/kernel/randomize_va_space"} >> setting;
    return setting == 2 && (::personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0;
}

struct measured {
    long median_us = 0;
    unsigned long window = 0;
    unsigned long stack = 0;
};

measured attach_in_new_process(const std::string& build, const std::string& domain)
{
    auto child = child_process::spawn(build, {domain, "1"});
    const auto line = child.read_line(patience).value_or("");
    INFO(build << " printed: " << line);
    REQUIRE(child.wait(patience) == exit_status{});
    measured seen;
    long min = 0;
    long max = 0;
    REQUIRE(std::sscanf(line.c_str(), "attach us median %ld min %ld max %ld window %lx stack %lx",
                        &seen.median_us, &min, &max, &seen.window, &seen.stack) == 5);
    return seen;
}

long median(std::vector<long> values)
{
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

struct mappings {
    std::size_t all = 0;
    std::size_t of_cohort = 0;  // in the window area, or of a file that has no name any more
};

mappings count_mappings()
{
    mappings count;
    std::ifstream maps{"/proc/self/maps"};
    for (std::string line; std::getline(maps, line); ++count.all) {
        const auto at = std::stoul(line, nullptr, 16);
        const bool in_window = at >= window_area_begin && at < window_area_end;
        count.of_cohort += in_window || line.find("(deleted)") != std::string::npos ? 1 : 0;
    }
    return count;
}

void use(domain& opened)
{
    auto pool = opened.find_mempool("cohort.messages");
    REQUIRE(pool);
    void* object = pool->get();
    REQUIRE(object != nullptr);
    CHECK(opened.mapping().window().contains(object, 1));
    pool->put(object);
}

}  // namespace

TEST_CASE("new processes of every build attach at the same window, whatever the loader chose",
          "[attach]")
{
    COHORT_SKIP_UNLESS(addresses_are_random(), "address space randomisation");
    const living_domain domain;
    const auto window = domain.observe().region().header.window_base;
    const auto builds = probes();
    std::map<std::string, std::vector<long>> took_us;
    std::set<unsigned long> stacks;
    const auto count = scaled(200, 1000);

    for (std::uint64_t i = 0; i != count; ++i) {
        const auto& build = builds[i % builds.size()];
        const auto seen = attach_in_new_process(build, domain.name());
        REQUIRE(seen.window == window);
        stacks.insert(seen.stack);
        took_us[build].push_back(seen.median_us);
    }

    CHECK(stacks.size() > count / 2);  // the addresses were random indeed
    CHECK(eventually([&] { return live_members(domain.observe().region()) == 1; }));
    for (const auto& [build, times] : took_us) {
        const auto [least, most] = std::minmax_element(times.begin(), times.end());
        WARN("attach median " << median(times) << " µs (" << *least << " to " << *most << ", "
                              << times.size() << " processes) with " << build
                              << "; rte_eal_init of a DPDK 22.11 secondary: 40 to 780 ms "
                                 "(Debian package, 2-core virtual machine)");
    }
}

TEST_CASE("attaching and leaving 200 times leaves no descriptor and no mapping behind", "[attach]")
{
    const living_domain domain;
    const auto come_and_go = [&](int times) {
        for (int i = 0; i != times; ++i)
            use(*secondary::attach(domain.name(), patience));
    };
    come_and_go(5);  // allocator arenas of threads, tables of drivers: made once and kept
    const auto descriptors = open_descriptors();
    const auto before = count_mappings();

    come_and_go(200);

    const auto after = count_mappings();
    CHECK(open_descriptors() == descriptors);
    CHECK(after.of_cohort == before.of_cohort);
    if (!slow_sanitizer)  // a sanitizer maps as it sees fit
        CHECK(after.all == before.all);
}

TEST_CASE("a process belongs to two domains and closes them in any order", "[attach]")
{
    const scratch_runtime_directory directory;
    const auto left_primary = start_cohortd("left");
    const auto right_primary = start_cohortd("right");
    const auto first_to_close = GENERATE(as<std::string>{}, "left", "right");
    const bool left_first = first_to_close == "left";

    for (int round = 0; round != 3; ++round) {
        auto left = secondary::attach("left", patience);
        auto right = secondary::attach("right", patience);
        REQUIRE(left->region().header.window_base != right->region().header.window_base);
        use(*left);
        use(*right);

        auto& closed = left_first ? left : right;
        auto& kept = left_first ? right : left;
        closed.reset();

        use(*kept);
        closed = secondary::attach(first_to_close, patience);
        use(*closed);
        use(*kept);
    }
}

TEST_CASE("an observer that comes and goes leaves every byte of the domain as it was", "[attach]")
{
    const living_domain domain;
    auto member = child_process::spawn("attach_probe_pie", {domain.name(), "1", "--hold"});
    member.await("attached", patience);
    const auto watcher = domain.observe();
    REQUIRE(eventually([&] { return is_settled(watcher.region()); }));
    const auto before = bytes_of(watcher.region());

    for (int i = 0; i != 5; ++i) {
        auto observer = child_process::spawn("attach_probe_pie", {domain.name(), "3", "--observe"});
        REQUIRE(observer.wait(patience) == exit_status{});
        auto killed =
            child_process::spawn("attach_probe_pie", {domain.name(), "1", "--observe", "--hold"});
        killed.await("attached", patience);
        killed.kill();
        REQUIRE(killed.wait(patience) == exit_status{.code = 0, .signal = SIGKILL});
    }

    CHECK(first_difference(before, bytes_of(watcher.region())) == std::nullopt);
}

TEST_CASE("an observer gets the region from a member when the primary has been killed", "[attach]")
{
    living_domain domain;
    auto member = child_process::spawn("attach_probe_pie", {domain.name(), "1", "--hold"});
    member.await("attached", patience);

    domain.primary().kill();
    REQUIRE(domain.primary().wait(patience) == exit_status{.code = 0, .signal = SIGKILL});

    const auto seen = domain.observe();
    CHECK(eventually([&] { return live_members(seen.region()) == 1; }));
    auto tool = child_process::spawn("cohort", {"--domain", domain.name(), "ps"});
    CHECK(tool.wait(patience) == exit_status{});
    CHECK_FALSE(secondary::primary_alive(domain.name()));
    check_refused(run("attach_probe_pie", {domain.name(), "1"}), errc::no_such_domain,
                  {"nobody listens at", "primary.sock"});
}

TEST_CASE("an observer gets the region from a member when the primary is stopped", "[attach]")
{
    living_domain domain;
    auto member = child_process::spawn("attach_probe_pie", {domain.name(), "1", "--hold"});
    member.await("attached", patience);

    stop(domain.primary());

    CHECK(live_members(secondary::observe(domain.name(), 1s).region()) == 2);
    domain.primary().kill(SIGCONT);
    CHECK(secondary::primary_alive(domain.name()));
}

TEST_CASE("an attach waits for a primary that does not listen yet, and at its deadline names it",
          "[attach]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    const scratch_runtime_directory directory;
    auto primary = child_process::spawn("cohortd", {"--domain", "slow", "--huge", "none"},
                                        {"COHORT_FAULT=primary.live:1:stop"});
    await_stop(primary);
    std::string sentence;
    try {
        static_cast<void>(secondary::attach("slow", 50ms, "early"));
    } catch (const error& refused) {
        CHECK(refused.reason() == errc::timed_out);
        sentence = refused.what();
    }
    CHECK(sentence == "the primary of domain \"slow\", pid " + std::to_string(primary.pid()) +
                          ", did not begin to listen in time; is it stopped?");

    std::thread soon{[&] {
        std::this_thread::sleep_for(20ms);  // the attach comes first, most of the time
        primary.kill(SIGCONT);
    }};
    CHECK_NOTHROW(secondary::attach("slow", patience, "patient"));
    soon.join();
}

}  // namespace cohort::test
