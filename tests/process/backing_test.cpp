// Where pages come from: a hugetlbfs, transparent hugepages, windows of all lengths.

#include "cohort/primary/primary.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/eventually.hpp"
#include "support/hugepages.hpp"
#include "support/member_process.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include <catch2/catch.hpp>

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

namespace cohort::test {
namespace {

/// A hugetlbfs of 2 MiB pages on a directory of its own.
class hugetlbfs_mount {
public:
    hugetlbfs_mount()
        : mounted_{::mount("none", directory_.path().c_str(), "hugetlbfs", 0, "pagesize=2M") == 0}
    {
    }
    ~hugetlbfs_mount()
    {
        if (mounted_)
            ::umount2(directory_.path().c_str(), MNT_DETACH);
    }
    hugetlbfs_mount(const hugetlbfs_mount&) = delete;
    hugetlbfs_mount& operator=(const hugetlbfs_mount&) = delete;
    [[nodiscard]] bool available() const noexcept { return mounted_; }
    [[nodiscard]] std::string path() const { return directory_.path().string(); }

private:
    scratch_directory directory_;
    bool mounted_;
};

constexpr const char* shared_hugepages = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// A machine-wide setting, put back at scope exit.
class lent_setting {
public:
    lent_setting(std::string file, const std::string& value) : file_{std::move(file)}
    {
        std::ifstream in{file_};
        for (std::string word; in >> word;)
            if (word.front() == '[')
                before_ = word.substr(1, word.size() - 2);
        changed_ = !before_.empty() && (std::ofstream{file_} << value << std::flush).good();
    }
    ~lent_setting()
    {
        if (changed_)
            std::ofstream{file_} << before_ << std::flush;
    }
    lent_setting(const lent_setting&) = delete;
    lent_setting& operator=(const lent_setting&) = delete;
    [[nodiscard]] bool available() const noexcept { return changed_; }

private:
    std::string file_;
    std::string before_;
    bool changed_ = false;
};

std::uint64_t meminfo(const std::string& wanted)
{
    std::ifstream file{"/proc/meminfo"};
    std::string key;
    std::string rest;
    std::uint64_t kib = 0;
    while (file >> key >> kib && std::getline(file, rest))
        if (key == wanted)
            return kib << 10;
    return 0;
}

}  // namespace

TEST_CASE("hugepages come from a hugetlbfs, named or found, and no file stays on it",
          "[memory][hugepages]")
{
    const hugepages pages{16};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    const hugetlbfs_mount mounted;
    COHORT_SKIP_UNLESS(mounted.available(), "the right to mount a hugetlbfs");
    const auto how = GENERATE(as<std::string>{}, "named", "auto");
    const scratch_runtime_directory directory;
    {
        const auto owner = primary::start({.name = "mounted",
                                           .memory = 8_MiB,
                                           .huge = huge_policy::only_2m,
                                           .huge_dir = how == "auto" ? how : mounted.path()});

        const auto& list = owner->region().memory.lists[0];
        CHECK(list.page_bytes == 2_MiB);
        CHECK(list.backing == page_backing::hugetlbfs);
        const auto zone = owner->reserve_memzone("grown", 12_MiB);
        std::memset(zone.data(), 1, zone.size());
        CHECK(list.published.load() >= 12_MiB);
        CHECK(owner->segments().find_fault(owner->members().who()) == std::nullopt);
    }
    CHECK(std::filesystem::is_empty(mounted.path()));
}

TEST_CASE("a start never fails for hugepages that others take meanwhile, unless it demands them",
          "[memory][hugepages]")
{
    const hugepages pages{8};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    const scratch_runtime_directory directory;
    std::atomic<bool> enough{false};
    std::thread rival{[&] {
        while (!enough) {
            auto* taken = ::mmap(nullptr, 6 * 2_MiB, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
            if (taken != MAP_FAILED)
                ::munmap(taken, 6 * 2_MiB);
        }
    }};

    for (int i = 0; i != 100; ++i)
        CHECK_NOTHROW(primary::start({.name = "rivalled", .memory = 12_MiB}));

    enough = true;
    rival.join();
}

TEST_CASE("transparent hugepages are used for 4 KiB pages where they are allowed", "[memory][thp]")
{
    const lent_setting allowed{shared_hugepages, "advise"};
    COHORT_SKIP_UNLESS(allowed.available(), "the right to allow transparent hugepages");
    const scratch_runtime_directory directory;
    const auto before = meminfo("ShmemHugePages:");

    const auto owner = primary::start({.name = "transparent",
                                       .memory = 64_MiB,
                                       .huge = huge_policy::none,
                                       .transparent_hugepages = true});

    CHECK(owner->region().memory.lists[0].transparent == 1);
    CHECK(meminfo("ShmemHugePages:") >= before + 32_MiB);
    CHECK(owner->segments().find_fault(owner->members().who()) == std::nullopt);
}

namespace {

std::uint64_t existing_bytes(domain& owner)
{
    struct stat status {};
    REQUIRE(::fstat(owner.segments().segment_files()[0].get(), &status) == 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

std::uint64_t published_bytes(const domain& owner)
{
    return owner.region().memory.lists[0].published.load();
}

}  // namespace

TEST_CASE("pages that the kernel makes around those that were asked for are no fault",
          "[memory][thp]")
{
    const lent_setting allowed{shared_hugepages, "advise"};
    COHORT_SKIP_UNLESS(allowed.available(), "the right to allow transparent hugepages");
    const scratch_runtime_directory directory;
    const auto owner = primary::start({.name = "odd",
                                       .memory = 15_MiB,
                                       .huge = huge_policy::none,
                                       .transparent_hugepages = true});
    for (const auto size : {33'000'000, 5'000'000}) {
        owner->reserve_memzone("odd", static_cast<std::size_t>(size));
        CHECK(existing_bytes(*owner) > published_bytes(*owner));
        CHECK(audit(owner->mapping()).faults == std::vector<std::string>{});
        CHECK(owner->segments().find_fault(owner->members().who()) == std::nullopt);
        owner->release_memzone("odd");
        owner->give_back_memory();
        CHECK(audit(owner->mapping()).faults == std::vector<std::string>{});
    }

    REQUIRE(existing_bytes(*owner) > published_bytes(*owner));
    const lent_setting forbidden{shared_hugepages, "never"};
    CHECK(audit(owner->mapping()).faults == std::vector<std::string>{});
    CHECK(eventually([&] { return existing_bytes(*owner) == published_bytes(*owner); }));
}

namespace {

/// Not instrumented: shadow memory has page faults of its own.
__attribute__((no_sanitize("address", "thread"))) void touch(std::byte* first, std::size_t bytes,
                                                             std::size_t page)
{
    for (std::size_t at = 0; at < bytes; at += page)
        first[at] = std::byte{1};
}

}  // namespace

TEST_CASE("hugepages that a growth made cost their maker no page fault", "[memory][huge]")
{
    const hugepages pages{7};
    COHORT_SKIP_UNLESS(pages.available(), pages.missing());
    const scratch_runtime_directory directory;
    const auto owner =
        primary::start({.name = "touch", .memory = 2_MiB, .huge = huge_policy::only_2m});
    const auto grown = [&] { return owner->region().memory.lists[0].growths.load(); };
    const auto growths = grown();
    const auto zone = owner->reserve_memzone("grown", 8_MiB);
    REQUIRE(grown() > growths);
    const auto faults = [] {
        rusage used{};
        ::getrusage(RUSAGE_THREAD, &used);
        return used.ru_minflt;
    };
    const auto bytes = zone.bytes();

    const auto before = faults();
    touch(bytes.data(), bytes.size(), 2_MiB);
    const auto after = faults();

    CHECK(after == before);
}

TEST_CASE("windows are as long as was asked for, and members attach to each", "[window]")
{
    const auto length = GENERATE(64_GiB, 128_GiB, 256_GiB, 320_GiB, 512_GiB, 4096_GiB);
    COHORT_SKIP_UNLESS(length <= 320_GiB || !slow_sanitizer, "a build without shadow memory");
    const scratch_runtime_directory directory;
    const auto owner = primary::start(
        {.name = "wide", .memory = 1_MiB, .huge = huge_policy::none, .window_bytes = length});

    CHECK(owner->region().header.window_bytes == length);
    CHECK(owner->region().memory.lists[0].max_bytes == length / 4);
    member_process member{"member", "wide"};
    member.tell("grow zone 65536");
    CHECK(owner->find_memzone("zone").size() == 65536);
    auto heap = owner->heap();
    CHECK(heap.free(heap.malloc(100)));
    member.leave();
}

TEST_CASE("domains whose windows would meet are kept apart", "[window]")
{
    const scratch_runtime_directory directory;
    const auto start = [](std::string_view name, std::size_t length) {
        return primary::start(
            {.name = name, .memory = 1_MiB, .huge = huge_policy::none, .window_bytes = length});
    };

    const auto first = start("first", 128_GiB);
    const auto second = start("second", 128_GiB);
    const auto third = start("third", 64_GiB);

    CHECK(first->region().header.window_base + 128_GiB <= second->region().header.window_base);
    CHECK(second->region().header.window_base + 128_GiB <= third->region().header.window_base);
    CHECK_THROWS_WITH(start("fourth", 128_GiB), Catch::Contains("no window of 128 GiB is free"));
}

TEST_CASE("every member hears of pages that another one makes or gives back", "[memory][events]")
{
    const scratch_runtime_directory directory;
    const auto owner =
        primary::start({.name = "events", .memory = 1_MiB, .huge = huge_policy::none});
    std::atomic<std::uint64_t> grown{0};
    std::atomic<std::uint64_t> given_back{0};
    owner->on_memory_event([&](const memory_event& event) {
        (event.what == memory_event::kind::grown ? grown : given_back) += event.bytes;
    });
    member_process member{"member", "events"};

    member.tell("grow zone 67108864");
    CHECK(eventually([&] { return grown >= 64_MiB; }));
    member.tell("release zone");
    CHECK(eventually([&] { return given_back >= 32_MiB; }));
    const auto by_others = grown.load();
    owner->reserve_memzone("own", 96_MiB);
    CHECK(grown >= by_others + 64_MiB);
    member.leave();
}

TEST_CASE("news of pages fill no inbox of a member that does not listen", "[memory][events]")
{
    const scratch_runtime_directory directory;
    const auto owner =
        primary::start({.name = "quiet", .memory = 1_MiB, .huge = huge_policy::none});
    member_process sleeper{"sleeper", "quiet"};
    sleeper.tell("offer ping");
    const auto to = owner->actions().find_member("sleeper").value();
    stop(sleeper.process());

    for (int round = 0; round != 50; ++round) {
        owner->reserve_memzone("large", 64_MiB);
        owner->release_memzone("large");
        owner->give_back_memory();
    }

    int accepted = 0;
    while (accepted != 1000 && owner->actions().send(to, "ping", "unanswered"))
        ++accepted;
    CHECK(accepted == 256);  // as many as an inbox takes
    sleeper.process().kill(SIGCONT);
    sleeper.leave();
}

TEST_CASE("a validator decides on the growth that its own process causes", "[memory][events]")
{
    const scratch_runtime_directory directory;
    const auto owner =
        primary::start({.name = "valid", .memory = 1_MiB, .huge = huge_policy::none});
    owner->validate_growth([](const memory_growth& growth) { return growth.after <= 32_MiB; });
    member_process member{"member", "valid"};

    CHECK_NOTHROW(owner->reserve_memzone("little", 16_MiB));
    CHECK_THROWS_WITH(owner->reserve_memzone("much", 64_MiB),
                      Catch::Contains("a validator of this process refuses"));
    member.tell("grow much 67108864");
    CHECK(owner->segments().find_fault(owner->members().who()) == std::nullopt);
    member.leave();
}

}  // namespace cohort::test
