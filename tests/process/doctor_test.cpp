// cohort doctor: each broken set-up is made and found. What is made for real and what is only shown
// to the program stands beside each case.

#include "process/living_domain.hpp"
#include "support/member_process.hpp"
#include "support/memory_cgroup.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {
namespace {

using words = std::vector<std::string>;

struct examined {
    std::optional<exit_status> status;
    std::set<std::string> found;
    nlohmann::json all;

    [[nodiscard]] bool has(const std::string& id) const { return found.contains(id); }
};

examined doctor(const std::string& domain, words steps = {}, const words& environment = {})
{
    steps.insert(steps.end(), {"--", "cohort", "--domain", domain, "doctor", "--json"});
    auto program = child_process::spawn("spoiled", steps, environment);
    std::string text;
    while (const auto line = program.read_line(patience))
        text += *line + "\n";
    examined seen{.status = program.wait(patience), .found = {}, .all = {}};
    seen.all = nlohmann::json::parse(text, nullptr, false);
    if (seen.all.is_object())
        for (const auto& each : seen.all.at("findings")) {
            seen.found.insert(each.at("check").get<std::string>());
            for (const auto* part : {"fact", "cause", "remedy"})
                CHECK_FALSE(each.at(part).get<std::string>().empty());
        }
    return seen;
}

/// A file with these lines, shown in the place of another.
std::string over(const scratch_directory& files, const std::string& text, const std::string& place)
{
    const auto file = files.path() / std::filesystem::path{place}.filename();
    std::ofstream{file} << text;
    return "over=" + file.string() + ":" + place;
}

const auto whole_area = "map=in_the_way.so:550000000000:5000000000";
const auto one_page = "map=in_the_way.so:551000000000:1000";

/// Made for real: seccomp filters, personalities, limits, mounts in a namespace of their own. Shown
/// only: the files under /proc that a global setting of the machine stands in.
std::map<std::string, words> surroundings(const scratch_directory& files)
{
    return {
        {"old-kernel", {"uname26"}},
        {"no-memfd", {"refuse=memfd_create"}},
        {"no-seals", {"refuse=seal"}},
        {"no-fallocate", {"refuse=fallocate"}},
        {"no-pidfd", {"refuse=pidfd_open"}},
        {"no-eventfd", {"refuse=eventfd2"}},
        {"no-robust-list", {"refuse=set_robust_list"}},
        {"no-thread", {"uid=65534", "nproc=0"}},
        {"no-membarrier", {"refuse=membarrier"}},
        {"no-mempolicy", {"refuse=get_mempolicy"}},
        {"no-proc", {"mount=tmpfs:/proc:size=64k"}},
        {"few-descriptors", {"nofile=100"}},
        {"little-address-space", {"as=8589934592"}},
        {"small-files", {"fsize=1048576"}},
        {"no-locked-memory", {"memlock=0"}},
        {"window-taken", {whole_area}},
        {"window-half-taken", {one_page}},
        {"legacy-layout", {"legacy"}},
        {"no-shm", {"mount=tmpfs:/dev/shm:ro"}},
        {"full-shm", {"mount=tmpfs:/dev/shm:size=1m"}},
        {"closed-hugetlbfs", {"mount=hugetlbfs:" + files.path().string() + ":ro"}},
        {"little-memory", {over(files, "MemAvailable: 1000 kB\n", "/proc/meminfo")}},
        {"strict-overcommit", {over(files, "2\n", "/proc/sys/vm/overcommit_memory")}},
        {"few-mappings", {over(files, "100\n", "/proc/sys/vm/max_map_count")}},
        {"hugepages-used-up", {}},  // as the next, with another file
    };
}

/// What a case of its own shows below.
const std::set<std::string> shown_below{
    "tight-cgroup", "no-runtime-directory", "foreign-root",    "open-root",      "foreign-domain",
    "open-domain",  "no-directory",         "long-path",       "full-place",     "domain-elsewhere",
    "stale-domain", "no-primary",           "stopped-primary", "stopped-member", "no-answer",
    "empty-pool",   "no-names-left",        "no-lanes-left",   "unsound"};

}  // namespace

TEST_CASE("the doctor has a broken set-up for each of its checks, and finds none where all is well",
          "[doctor]")
{
    const scratch_directory files;
    const living_domain domain;
    const auto well = doctor(domain.name());
    auto shown = shown_below;
    for (const auto& [id, steps] : surroundings(files))
        shown.insert(id);

    CHECK(well.all.at("checks").get<std::set<std::string>>() == shown);
    CHECK(shown.size() >= 30);
    INFO(well.all.dump(2));
    for (const auto& each : well.all.at("findings"))
        CHECK(each.at("gravity") == "weakness");  // of the machine that the tests run on
    CHECK(well.status == exit_status{});
}

TEST_CASE("the doctor finds what is wrong with the surroundings of a program", "[doctor]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root, to make namespaces");
    const scratch_directory files;
    const scratch_runtime_directory runtime;
    auto cases = surroundings(files);
    cases["hugepages-used-up"] = {
        over(files,
             "MemAvailable: 9999999 kB\nHugePages_Total: 4\nHugePages_Free: 1\nHugePages_Rsvd: 1\n",
             "/proc/meminfo")};
    // No module can be loaded before a sanitizer, its shadow needs its space, and one of them runs
    // without address space randomisation.
    if (slow_sanitizer)
        std::erase_if(cases, [](const auto& one) {
            return one.first.starts_with("window") || one.first == "little-address-space" ||
                   one.first == "legacy-layout";
        });
    for (const auto& [id, steps] : cases)
        DYNAMIC_SECTION(id)
        {
            if (id == "little-memory")
                over(files, "MemAvailable: 1000 kB\n", "/proc/meminfo");
            const auto before = doctor("nobody");
            const auto seen = doctor("nobody", steps);
            COHORT_SKIP_UNLESS(seen.status != (exit_status{.code = 77, .signal = 0}),
                               "the right to make the set-up of " + id);
            INFO(seen.all.dump(2));
            CHECK_FALSE(before.has(id));
            CHECK(seen.has(id));
        }
}

TEST_CASE("the doctor finds a control group that leaves too little memory", "[doctor]")
{
    // Less than a domain usually has; a sanitizer's doctor lives with that.
    const memory_cgroup group{60_MiB};
    COHORT_SKIP_UNLESS(group.available(), group.missing());
    const scratch_runtime_directory runtime;
    const auto directory = std::filesystem::path{group.limit_file()}.parent_path().string();

    CHECK(doctor("nobody", {"cgroup=" + directory}).has("tight-cgroup"));
    CHECK_FALSE(doctor("nobody").has("tight-cgroup"));
}

TEST_CASE("the doctor finds rendezvous directories that cannot be used", "[doctor]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root, to make namespaces and foreign directories");
    const scratch_runtime_directory runtime;
    const auto root = runtime.path();
    const std::string mounted = root / "mounted";
    std::filesystem::create_directory(mounted);
    const auto under = [](const std::string& path) { return words{"COHORT_RUNTIME_DIR=" + path}; };

    CHECK(doctor("d", {"mount=tmpfs:" + mounted + ":ro"}, under(mounted + "/cohort"))
              .has("no-runtime-directory"));
    CHECK(
        doctor("d", {"mount=tmpfs:" + mounted + ":nr_inodes=1"}, under(mounted)).has("full-place"));
    CHECK(doctor("d", {}, under(mounted + "/" + std::string(100, 'x'))).has("long-path"));
    REQUIRE(::chmod(mounted.c_str(), 0777) == 0);
    CHECK(doctor("d", {}, under(mounted)).has("open-root"));
    REQUIRE(::chmod(mounted.c_str(), 0700) == 0);
    REQUIRE(::chown(mounted.c_str(), 65534, 65534) == 0);
    CHECK(doctor("d", {}, under(mounted)).has("foreign-root"));

    std::ofstream{root / "file"} << "no directory";
    CHECK(doctor("file").has("no-directory"));
    const std::string theirs = root / "theirs";
    std::filesystem::create_directory(theirs);
    REQUIRE(::chown(theirs.c_str(), 65534, 65534) == 0);
    CHECK(doctor("theirs").has("foreign-domain"));
    REQUIRE(::chmod(theirs.c_str(), 0777) == 0);
    CHECK(doctor("theirs").has("open-domain"));

    std::filesystem::create_directories(root / "xdg" / "cohort" / "lost");
    CHECK(
        doctor("lost", {}, {"XDG_RUNTIME_DIR=" + (root / "xdg").string()}).has("domain-elsewhere"));
    const auto well = doctor("fresh");
    for (const auto* id :
         {"no-runtime-directory", "full-place", "long-path", "open-root", "foreign-root",
          "no-directory", "foreign-domain", "open-domain", "domain-elsewhere"})
        CHECK_FALSE(well.has(id));
}

TEST_CASE("the doctor tells a stopped domain, one without a primary, and one that is gone",
          "[doctor]")
{
    living_domain domain;
    CHECK_FALSE(doctor(domain.name()).has("stopped-primary"));
    stop(domain.primary());
    const auto stopped = doctor(domain.name());
    CHECK(stopped.has("stopped-primary"));
    CHECK(stopped.has("no-answer"));
    CHECK(stopped.status == (exit_status{.code = 1, .signal = 0}));
    domain.primary().kill(SIGCONT);

    {
        member_process member{"member", domain.name()};
        stop(member.process());
        CHECK(doctor(domain.name()).has("stopped-member"));
        member.process().kill(SIGCONT);
        CHECK_FALSE(doctor(domain.name()).has("no-primary"));
        domain.primary().kill();
        REQUIRE(domain.primary().wait(patience));
        CHECK(doctor(domain.name()).has("no-primary"));
        CHECK_FALSE(doctor(domain.name()).has("stale-domain"));
        member.kill();
    }
    CHECK(doctor(domain.name()).has("stale-domain"));
}

TEST_CASE("the doctor finds a domain without room, and one that somebody has scribbled over",
          "[doctor]")
{
    scratch_domain domain{
        primary::start_options{.memory = 16_MiB, .huge = huge_policy::none, .max_zones = 64}};
    auto pool = domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});
    const auto well = doctor("scratch");
    for (const auto* id : {"empty-pool", "no-names-left", "no-lanes-left", "unsound"})
        CHECK_FALSE(well.has(id));

    std::vector<mbuf*> packets(64);
    REQUIRE(pool.alloc_bulk(packets));
    CHECK(doctor("scratch").has("empty-pool"));

    for (int i = 0; i != 64; ++i)
        try {
            domain->reserve_memzone("zone " + std::to_string(i), 64);
        } catch (const error&) {
            break;
        }
    CHECK(doctor("scratch").has("no-names-left"));

    packets.front()->custody = custody::holder(9, 3);
    CHECK(doctor("scratch").has("unsound"));
    packets.front()->custody = packets.back()->custody;
    free_bulk(packets);

    std::atomic<bool> go{false};
    std::atomic<int> entered{0};
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i != max_lanes - 4; ++i)
        threads.emplace_back([&] {
            domain->enter_lane("many");
            ++entered;
            while (!go)
                std::this_thread::sleep_for(1ms);
        });
    REQUIRE(eventually([&] { return entered == static_cast<int>(max_lanes) - 4; }));
    CHECK(doctor("scratch").has("no-lanes-left"));
    go = true;
}

TEST_CASE("the doctor changes nothing", "[doctor]")
{
    const living_domain domain;
    const auto seen = domain.observe();
    const auto names = [&] {
        std::set<std::string> found;
        for (const auto& each : std::filesystem::recursive_directory_iterator{domain.root()})
            found.insert(each.path());
        return found;
    };
    const auto before = bytes_of(seen.region());
    const auto names_before = names();

    CHECK(doctor(domain.name()).status == exit_status{});
    CHECK(doctor("nobody").all.is_object());

    CHECK_FALSE(first_difference(before, bytes_of(seen.region())));
    CHECK(names() == names_before);
}

}  // namespace cohort::test
