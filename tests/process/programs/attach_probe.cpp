// attach_probe DOMAIN TIMES [option]...: attaches and leaves TIMES times, then prints one line:
//
//   attach us median 812 min 790 max 1024 window 0x550000000000 stack 0x7ffd1c2b3a40
//
// A refusal ends it with the error's exit code and its sentence on standard error.
//
//   --observe           as an observer
//   --hold              stays attached after the last time: says "attached", leaves when told a
//   line
//   --name NAME         of the member
//   --timeout-ms N      deadline of each attach, default 10000
//   --occupy ADDRESS    maps a page there first (hexadecimal)
//   --descriptors N     lowers RLIMIT_NOFILE to that first
//   --lock-future       calls mlockall(MCL_FUTURE) first
//   --lock-used         calls mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) first
//   --group GID         is in that group and no other first
//   --uid UID           becomes that user first
//
// tests/meson.build builds it four ways: with and without PIE, with ASan, with TSan.

#include "cohort/base/error.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <grp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using std::chrono::steady_clock;

struct wish {
    std::string domain;
    std::string member_name;
    std::size_t times = 1;
    bool observe = false;
    bool hold = false;
    std::chrono::milliseconds timeout{10'000};
};

[[noreturn]] void give_up(const std::string& why)
{
    fmt::print(stderr, "attach_probe: {}\n", why);
    std::exit(1);
}

void occupy(const char* address)
{
    void* at = reinterpret_cast<void*>(std::strtoull(address, nullptr, 16));
    if (::mmap(at, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != at)
        give_up(fmt::format("cannot occupy {}", address));
}

void limit_descriptors(const char* count)
{
    const auto few = std::strtoul(count, nullptr, 10);
    const rlimit limit{.rlim_cur = few, .rlim_max = few};
    if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
        give_up(fmt::format("cannot do with {} descriptors", count));
}

void become(const char* uid)
{
    const auto wanted = static_cast<uid_t>(std::strtoul(uid, nullptr, 10));
    if (::setgid(static_cast<gid_t>(wanted)) != 0 || ::setuid(wanted) != 0)
        give_up(fmt::format("cannot become user {}", uid));
}

void join_group(const char* gid)
{
    const auto wanted = static_cast<gid_t>(std::strtoul(gid, nullptr, 10));
    if (::setgroups(1, &wanted) != 0)
        give_up(fmt::format("cannot join group {}", gid));
}

/// Past the sanitizers, whose mlockall does nothing.
void lock_memory(int how)
{
    if (::syscall(SYS_mlockall, how) != 0)
        give_up("cannot lock memory");
}

wish read_arguments(int argc, char** argv)
{
    if (argc < 3)
        give_up("usage: attach_probe DOMAIN TIMES [option]...");
    wish given{.domain = argv[1], .member_name = {}, .times = std::stoul(argv[2])};
    for (int i = 3; i < argc; ++i) {
        const std::string_view option = argv[i];
        const auto value = [&] { return ++i < argc ? argv[i] : ""; };
        if (option == "--observe")
            given.observe = true;
        else if (option == "--hold")
            given.hold = true;
        else if (option == "--name")
            given.member_name = value();
        else if (option == "--timeout-ms")
            given.timeout = std::chrono::milliseconds{std::strtol(value(), nullptr, 10)};
        else if (option == "--occupy")
            occupy(value());
        else if (option == "--descriptors")
            limit_descriptors(value());
        else if (option == "--group")
            join_group(value());
        else if (option == "--uid")
            become(value());
        else if (option == "--lock-future")
            lock_memory(MCL_FUTURE);
        else if (option == "--lock-used")
            lock_memory(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
        else
            give_up(fmt::format("option {} is unknown", option));
    }
    return given;
}

/// Attaches once by `join`, which returns something that leaves when it goes out of scope.
template <typename Join>
std::uintptr_t run(const wish& given, std::vector<long>& took_us, Join join)
{
    std::uintptr_t window = 0;
    for (std::size_t i = 0; i != given.times; ++i) {
        const auto before = steady_clock::now();
        const auto joined = join();
        const auto after = steady_clock::now();
        took_us.push_back(
            std::chrono::duration_cast<std::chrono::microseconds>(after - before).count());
        window = joined->region().header.window_base;
        if (given.hold && i + 1 == given.times) {
            cohort::test::say("attached");
            static_cast<void>(cohort::test::hear());
        }
    }
    return window;
}

void probe(const wish& given)
{
    using namespace cohort;
    std::vector<long> took_us;
    const auto window =
        given.observe
            ? run(given, took_us,
                  [&] {
                      return std::make_unique<secondary::observer>(
                          secondary::observe(given.domain, given.timeout));
                  })
            : run(given, took_us, [&] {
                  return secondary::attach(given.domain, given.timeout, given.member_name);
              });
    std::sort(took_us.begin(), took_us.end());
    const int on_the_stack = 0;
    fmt::print("attach us median {} min {} max {} window {:#x} stack {}\n",
               took_us[took_us.size() / 2], took_us.front(), took_us.back(), window,
               static_cast<const void*>(&on_the_stack));
}

}  // namespace

int main(int argc, char** argv)
{
    const auto given = read_arguments(argc, argv);
    try {
        probe(given);
        return 0;
    } catch (const cohort::error& refused) {
        fmt::print(stderr, "attach_probe: {}\n", refused.what());
        return refused.exit_code();
    } catch (const std::exception& failure) {
        give_up(failure.what());
    }
}
