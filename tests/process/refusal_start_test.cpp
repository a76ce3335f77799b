// What a primary is refused for: each its own sentence and exit code, and nothing is left that the
// next start of the same name would stumble over.

#include "cohort/base/bits.hpp"
#include "cohort/memory/page_size.hpp"
#include "cohort/memory/window.hpp"
#include "cohort/primary/primary.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/hugepages.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {
namespace {

using fs_path = std::filesystem::path;

struct refused_start {
    std::string_view name;
    errc code;
    std::function<attempt::result(const fs_path& root)> arrange;
    std::vector<std::string> says;
};

attempt::result start(std::vector<std::string> options)
{
    options.insert(options.begin(), {"--domain", "fresh"});
    return run("cohortd", options);
}

/// Runs one row; afterwards the name can be started as if nothing had been.
void check(const refused_start& row)
{
    const scratch_runtime_directory directory;
    const auto objects = shared_memory_objects();

    const auto seen = row.arrange(directory.path());

    check_refused(seen, row.code, row.says);
    CHECK(await_no_new_object(objects));
    auto next = start_cohortd("fresh");
    CHECK(run("cohort", {"--domain", "fresh", "audit"}).status == exit_status{});
    next.kill(SIGTERM);
    CHECK(next.wait(patience) == exit_status{});
    CHECK_FALSE(std::filesystem::exists(directory.path() / "fresh"));
}

attempt::result start_in(const fs_path& root, mode_t mode)
{
    const auto place = root / "fresh";
    std::filesystem::create_directory(place);
    ::chmod(place.c_str(), mode);
    auto seen = start({});
    ::chmod(place.c_str(), 0700);
    return seen;
}

/// More hugepages of that size than are free.
std::string more_than_free(page_size size)
{
    return std::to_string(available_bytes(size) + 4 * bytes(size));
}

const std::vector<refused_start> refused_starts{
    {"the rendezvous path is a file",
     errc::wrong_owner,
     [](const fs_path& root) {
         std::ofstream{root / "fresh"} << "in the way";
         auto seen = start({});
         std::filesystem::remove(root / "fresh");
         return seen;
     },
     {"/fresh is not a directory", "remove it"}},
    {"the rendezvous path is a link",
     errc::wrong_owner,
     [](const fs_path& root) {
         std::filesystem::create_directory(root / "elsewhere");
         std::filesystem::create_symlink(root / "elsewhere", root / "fresh");
         auto seen = start({});
         std::filesystem::remove(root / "fresh");
         return seen;
     },
     {"/fresh is not a directory"}},
    {"others may write to the rendezvous directory",
     errc::wrong_owner,
     [](const fs_path& root) { return start_in(root, 0702); },
     {"mode 0702", "open to other writers", "chmod 0700"}},
    {"the group may write to the rendezvous directory",
     errc::wrong_owner,
     [](const fs_path& root) { return start_in(root, 0770); },
     {"mode 0770", "open to other writers"}},
    {"others may write to the runtime directory",
     errc::wrong_owner,
     [](const fs_path& root) {
         ::chmod(root.c_str(), 0777);
         auto seen = start({});
         ::chmod(root.c_str(), 0700);
         return seen;
     },
     {"the runtime directory", "mode 0777", "COHORT_RUNTIME_DIR"}},
    {"the path of the runtime directory is too long",
     errc::name_too_long,
     [](const fs_path& root) {
         const auto long_root = root / std::string(90, 'x');
         std::filesystem::create_directory(long_root);
         return run("cohortd", {"--domain", "fresh"}, {"COHORT_RUNTIME_DIR=" + long_root.string()});
     },
     {"the socket path", "at most 107 fit", "shorter COHORT_RUNTIME_DIR"}},
    {"the path of the runtime directory is relative",
     errc::invalid_argument,
     [](const fs_path&) {
         return run("cohortd", {"--domain", "fresh"}, {"COHORT_RUNTIME_DIR=here"});
     },
     {"COHORT_RUNTIME_DIR is \"here\"", "absolute path"}},
    {"the runtime directory cannot be made",
     errc::system,
     [](const fs_path&) {
         return run("cohortd", {"--domain", "fresh"}, {"COHORT_RUNTIME_DIR=/proc/cohort"});
     },
     {"cannot make the directory /proc/cohort"}},
    {"the name is too long",
     errc::name_too_long,
     [](const fs_path&) {
         return run("cohortd", {"--domain", std::string(33, 'n')});
     },
     {"has 33 characters", "at most 32 fit"}},
    {"the name has a slash",
     errc::invalid_argument,
     [](const fs_path&) {
         return run("cohortd", {"--domain", "a/b"});
     },
     {"\"a/b\"", "letters, digits"}},
    {"the name is hidden",
     errc::invalid_argument,
     [](const fs_path&) {
         return run("cohortd", {"--domain", ".."});
     },
     {"must not start with '.'"}},
    {"the name is empty",
     errc::invalid_argument,
     [](const fs_path&) {
         return run("cohortd", {"--domain", ""});
     },
     {"the domain name \"\""}},
    {"there is nothing to adopt",
     errc::no_such_domain,
     [](const fs_path&) { return start({"--adopt"}); },
     {"nothing to adopt", "\"fresh\" has no member"}},
    {"the window base is no slot",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--window-base", "0x550000001000"});
     },
     {"0x550000001000", "one of the 5 slots"}},
    {"the window base is no address",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--window-base", "upstairs"});
     },
     {"--window-base upstairs"}},
    {"the kind of pages does not exist",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--huge", "3M"});
     },
     {"--huge 3M is not one of auto, 2M, 1G, none"}},
    {"more memory than a window holds",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--memory", "17G", "--huge", "none", "--window", "64G"});
     },
     {"17 GiB of memory", "a window of 64 GiB holds at most 16 GiB", "--window"}},
    {"more memory than the largest window holds",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--memory", "16777215T", "--huge", "none"});
     },
     {"do not fit into the largest window, of 8192 GiB", "ask for less"}},
    {"a window that is larger than the largest",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--window", "8193G", "--huge", "none"});
     },
     {"a window of 8193 GiB is asked for; the largest has 8192 GiB"}},
    {"memory for a node that is not there",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--numa-mem", "8,8,8", "--huge", "none", "--emulate-nodes", "2"});
     },
     {"--numa-mem names 3 nodes but there are 2"}},
    {"an amount of memory is none",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--memory", "many"});
     },
     {"--memory \"many\" is not an amount", "64M"}},
    {"a limit for pages that do not exist",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--pagesz-mem", "3M:64M"});
     },
     {"--pagesz-mem \"3M:64M\" is not SIZE:LIMIT"}},
    {"a directory without hugepages",
     errc::invalid_argument,
     [](const fs_path& runtime) {
         return start({"--huge-dir", runtime.string(), "--huge", "2M", "--memory", "0"});
     },
     {"is not on a hugetlbfs with pages of 2 MiB", "mount -t hugetlbfs"}},
    {"too many names",
     errc::invalid_argument,
     [](const fs_path&) {
         return start({"--max-zones", "20000", "--huge", "none"});
     },
     {"20000 zones are asked for; 64 to 16383 can be"}},
    {"a limit below the memory of the start",
     errc::no_memory,
     [](const fs_path&) {
         return start({"--numa-limit", "32", "--memory", "64M", "--huge", "none"});
     },
     {"64 MiB more are wanted on node 0", "at most 32 MiB", "--numa-limit"}},
    {"there are too few pages of 2 MiB",
     errc::no_hugepages,
     [](const fs_path&) {
         return start({"--huge", "2M", "--memory", more_than_free(page_size::huge_2m)});
     },
     {"in pages of 2 MiB are required but", "/sys/kernel/mm/hugepages", "--huge none"}},
    {"there are too few pages of 1 GiB",
     errc::no_hugepages,
     [](const fs_path&) {
         return start({"--huge", "1G", "--memory", more_than_free(page_size::huge_1g)});
     },
     {"in pages of 1 GiB are required but"}},
    {"files may not be as long as a memseg list",
     errc::no_memory,
     [](const fs_path&) {
         const lowered_limit short_files{RLIMIT_FSIZE, 4_MiB};
         return start({"--huge", "none"});
     },
     {"RLIMIT_FSIZE of 4 MiB", "ulimit -f unlimited"}},
    {"files may not be as long as the control region",
     errc::no_memory,
     [](const fs_path&) {
         const lowered_limit short_files{RLIMIT_FSIZE, 64_KiB};
         return start({"--huge", "none"});
     },
     {"RLIMIT_FSIZE of 64 KiB"}},
};

}  // namespace

TEST_CASE("a refused start gets its own sentence and exit code, and leaves nothing in the way",
          "[start][refusal]")
{
    for (const auto& row : refused_starts)
        DYNAMIC_SECTION(row.name)
        {
            check(row);
        }
}

TEST_CASE("a start in a directory of another user is refused", "[start][refusal]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root");
    const auto whose = GENERATE(as<std::string>{}, "fresh", ".");
    check({"",
           errc::wrong_owner,
           [&](const fs_path& root) {
               std::filesystem::create_directory(root / "fresh");
               REQUIRE(::chown((root / whose).c_str(), somebody_else, somebody_else) == 0);
               auto seen = start({});
               REQUIRE(::chown((root / whose).c_str(), 0, 0) == 0);
               return seen;
           },
           {"uid 65534", "COHORT_RUNTIME_DIR"}});
}

TEST_CASE("a start with too small a /dev/shm is refused", "[start][refusal]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root, for a mount namespace of its own");
    const auto here = std::filesystem::read_symlink("/proc/self/exe").parent_path();
    check({"",
           errc::no_memory,
           [&](const fs_path&) {
               return run("/usr/bin/unshare",
                          {"--mount", "/bin/sh", "-c",
                           "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec " +
                               (here / "../primary/cohortd").string() +
                               " --domain fresh --huge none"});
           },
           {"/dev/shm for the region", "No space left on device (ENOSPC)", "make it larger"}});
}

TEST_CASE("a start that wants more memory than is available is refused", "[start][refusal]")
{
    const auto wanted = available_bytes(page_size::small) + 1_GiB;
    check({"",
           errc::no_memory,
           [&](const fs_path&) {
               return start({"--memory", std::to_string(wanted), "--huge", "none"});
           },
           {"of 4 KiB pages are wanted but", "ask for less memory"}});
}

TEST_CASE("a start without enough address space names the limit", "[start][refusal]")
{
    COHORT_SKIP_UNLESS(!slow_sanitizer, "a build without shadow memory");
    check({"",
           errc::no_memory,
           [](const fs_path&) {
               const lowered_limit little{RLIMIT_AS, 4_GiB};
               return start({"--huge", "none"});
           },
           {"64 GiB of address space", "RLIMIT_AS"}});
}

TEST_CASE("hugepages that are there are used, and a refused start leaves them free",
          "[start][refusal]")
{
    const hugepages pages{8};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    const scratch_runtime_directory directory;
    const auto before = available_bytes(page_size::huge_2m);

    const auto seen = start({"--huge", "2M", "--memory", std::to_string(before + 2_MiB)});

    check_refused(seen, errc::no_hugepages, {bytes_text(before) + " are free"});
    CHECK(available_bytes(page_size::huge_2m) == before);
    const auto primary = start_cohortd("fresh", {"--huge", "2M"});
    CHECK(available_bytes(page_size::huge_2m) == before - 8_MiB);
}

TEST_CASE("a domain lives on a page of 1 GiB and gives it back", "[start][refusal]")
{
    const hugepages pages{1, page_size::huge_1g};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    const scratch_runtime_directory directory;
    const auto before = available_bytes(page_size::huge_1g);
    {
        const auto owner =
            primary::start({.name = "huge", .memory = 1_GiB, .huge = huge_policy::only_1g});
        CHECK(available_bytes(page_size::huge_1g) == before - 1_GiB);
        CHECK(owner->region().memory.lists[0].page_bytes == 1_GiB);
        owner->create_pktmbuf_pool("packets", {.count = 512});
        CHECK(owner->reserve_memzone("most of it", 900_MiB).size() == 900_MiB);
        auto attached = child_process::spawn("fault_member", {"huge", "attach"});
        CHECK(attached.wait(patience) == exit_status{});
    }
    CHECK(available_bytes(page_size::huge_1g) == before);
}

TEST_CASE("when all windows of a runtime directory are taken the next domain is refused",
          "[start][refusal]")
{
    const scratch_runtime_directory directory;
    std::vector<child_process> primaries;
    for (std::size_t slot = 0; slot != window_slots; ++slot)
        primaries.push_back(start_cohortd("domain" + std::to_string(slot)));

    const auto refused = start({"--huge", "none"});

    check_refused(refused, errc::window_taken,
                  {"no window of 64 GiB is free",
                   "live domains under " + directory.path().string() + " use 5"});
    primaries.pop_back();  // killed: its window is free for others at once
    CHECK_NOTHROW(start_cohortd("fresh"));
}

TEST_CASE("an option that does not exist ends the tools with exit code 2", "[start][refusal]")
{
    const auto tool = GENERATE(as<std::string>{}, "cohortd", "cohort");

    const auto seen = run(tool, {"--no-such-option"});

    CHECK(seen.status == exit_status{.code = 2, .signal = 0});
    CHECK_THAT(seen.sentence, Catch::Contains("--no-such-option") || Catch::Contains("required"));
    CHECK(run(tool, {"--help"}).status == exit_status{});
}

}  // namespace cohort::test
