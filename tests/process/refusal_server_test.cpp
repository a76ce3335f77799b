// A server that is not what it should be: the newcomer refuses it with a sentence of its own, in
// the time it was given, and writes nothing to what it was handed.

#include "cohort/base/error.hpp"
#include "process/attempt.hpp"
#include "process/fake_server.hpp"
#include "support/skip.hpp"

#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/socket.h>
#include <unistd.h>

namespace cohort::test {
namespace {

attempt newcomer(const std::string& timeout_ms = "10000")
{
    return attempt{"attach_probe_pie", {"fake", "1", "--observe", "--timeout-ms", timeout_ms}};
}

struct spoiled_region {
    std::string_view name;
    errc code;
    std::vector<std::string> says;
    std::function<void(fake_region&)> spoil;
};

void fill_with_noise(fake_region& region)
{
    std::memset(static_cast<void*>(&region.layout()), 0xa5, fake_region::bytes);
}

const std::vector<spoiled_region> spoiled{
    {"the region is empty",
     errc::region_truncated,
     {"has 0 bytes"},
     [](auto& region) { region.set_length(region.control, 0); }},
    {"the region is shorter than its header",
     errc::region_truncated,
     {"has 100 bytes"},
     [](auto& region) { region.set_length(region.control, 100); }},
    {"the region is shorter than its layout",
     errc::region_truncated,
     {"its layout needs"},
     [](auto& region) { region.set_length(region.control, sizeof(region_layout) - 4096); }},
    {"the region is longer than its header says",
     errc::region_truncated,
     {"but its header says"},
     [](auto& region) { region.set_length(region.control, fake_region::bytes + 4096); }},
    {"the region is noise",
     errc::region_garbage,
     {"starts with 0xa5a5a5a5a5a5a5a5"},
     fill_with_noise},
    {"the region is all zero",
     errc::region_garbage,
     {"starts with 0x0000000000000000"},
     [](auto& region) {
         std::memset(static_cast<void*>(&region.layout()), 0, fake_region::bytes);
     }},
    {"the region has another layout",
     errc::layout_mismatch,
     {"was made with layout"},
     [](auto& region) { region.layout().header.layout_hash ^= 1; }},
    {"the server has another layout",
     errc::layout_mismatch,
     {"the domain has layout"},
     [](auto& region) { region.answer.layout_hash ^= 1; }},
    {"the region is being built",
     errc::region_garbage,
     {"state 0 and not ready", "try again"},
     [](auto& region) { region.layout().header.state.store(0); }},
    {"the region is in no known state",
     errc::region_garbage,
     {"state 77"},
     [](auto& region) { region.layout().header.state.store(77); }},
    {"another window is announced",
     errc::region_garbage,
     {"but was announced"},
     [](auto& region) { region.answer.window_base = window_slot_base(2); }},
    {"a region larger than its window is announced",
     errc::region_garbage,
     {"but was announced"},
     [](auto& region) { region.answer.region_bytes = 2 * window_slot_bytes; }},
    {"a region of no bytes is announced",
     errc::region_garbage,
     {"but was announced"},
     [](auto& region) { region.answer.region_bytes = 0; }},
    {"the window is no slot",
     errc::region_garbage,
     {"0x7f0000000000", "no slot of the window"},
     [](auto& region) {
         region.layout().header.window_base = region.answer.window_base = 0x7f00'0000'0000;
     }},
    {"the window is not as long as slots are",
     errc::region_garbage,
     {"no slot of the window"},
     [](auto& region) {
         region.layout().header.window_bytes = region.answer.window_bytes = 100_GiB;
     }},
    {"a memseg list lies below the window",
     errc::region_garbage,
     {"memseg list 0", "outside the window"},
     [](auto& region) { region.layout().memory.lists[0].base = window_slot_base(0); }},
    {"a memseg list covers the control region",
     errc::region_garbage,
     {"outside the window"},
     [](auto& region) { region.layout().memory.lists[0].base = window_slot_base(1); }},
    {"a memseg list reaches beyond the window",
     errc::region_garbage,
     {"outside the window"},
     [](auto& region) { region.layout().memory.lists[0].max_bytes = ~std::uint64_t{0} - 4095; }},
    {"there are more memseg lists than can be",
     errc::region_garbage,
     {"33 memseg lists", "at most 32"},
     [](auto& region) { region.layout().memory.list_count = 33; }},
    {"the table of names lies outside the region",
     errc::region_garbage,
     {"table of names of 64 entries", "outside the region"},
     [](auto& region) {
         region.layout().memory.zones = reinterpret_cast<memzone_layout*>(window_slot_base(2));
     }},
    {"the table of names is longer than the region",
     errc::region_garbage,
     {"table of names of 16000 entries", "outside the region"},
     [](auto& region) { region.layout().memory.zone_count = 16000; }},
    {"there is no entry for a name",
     errc::region_garbage,
     {"has 0 names", "1 to 16383"},
     [](auto& region) { region.layout().memory.zone_count = 0; }},
    {"a map of pages lies outside the region",
     errc::region_garbage,
     {"map of pages of 4 entries", "outside the region"},
     [](auto& region) { region.layout().memory.lists[0].page_map = nullptr; }},
    {"pages have a length that is none",
     errc::region_garbage,
     {"memseg list 0 has pages of 5000 bytes"},
     [](auto& region) { region.layout().memory.lists[0].page_bytes = 5000; }},
    {"the file of a memseg list did not come",
     errc::region_garbage,
     {"memseg list 1", "did not come"},
     [](auto& region) { region.layout().memory.list_count = 2; }},
    {"the file of a memseg list is too short",
     errc::region_truncated,
     {"memseg list 0 has 4096 bytes", "needs 1048576"},
     [](auto& region) { region.set_length(region.segments, 4096); }},
    {"no descriptor came",
     errc::bad_input,
     {"0 descriptors", "2 were announced"},
     [](auto& region) { region.descriptors.clear(); }},
    {"one descriptor is missing",
     errc::bad_input,
     {"1 descriptors", "2 were announced"},
     [](auto& region) { region.descriptors.pop_back(); }},
    {"one descriptor too many",
     errc::bad_input,
     {"3 descriptors", "2 were announced"},
     [](auto& region) { region.descriptors.push_back(region.control.get()); }},
    {"as many descriptors as a message can carry",
     errc::bad_input,
     {"253 descriptors"},
     [](auto& region) { region.descriptors.resize(ipc::max_message_fds, region.control.get()); }},
    {"the descriptor of the region is no file",
     errc::region_truncated,
     {"has 0 bytes"},
     [](auto& region) { region.descriptors[0] = region.no_file.get(); }},
};

struct wrong_answer {
    std::string_view name;
    errc code;
    std::vector<std::string> says;
    std::function<void(fake_server&)> act;
};

const std::vector<wrong_answer> answers{
    {"the server hangs up",
     errc::primary_lost,
     {"closed the connection without an answer"},
     [](auto& server) { server.hang_up(); }},
    {"the answer is cut",
     errc::bad_input,
     {"cut or not one of cohort"},
     [](auto& server) {
         const ipc::wire::attach_reply reply{.sentence = {}};
         server.send(ipc::wire::bytes_of(reply).first(sizeof reply / 2));
     }},
    {"the answer is too long",
     errc::bad_input,
     {"cut or not one of cohort"},
     [](auto& server) { server.send(std::vector<std::byte>(ipc::wire::max_bytes + 1)); }},
    {"the answer has another magic",
     errc::bad_input,
     {"cut or not one of cohort"},
     [](auto& server) {
         ipc::wire::attach_reply reply{.sentence = {}};
         reply.head.magic = 0;
         server.send(ipc::wire::bytes_of(reply));
     }},
    {"the answer is of another kind",
     errc::bad_input,
     {"cut or not one of cohort"},
     [](auto& server) {
         server.send(ipc::wire::bytes_of(
             ipc::wire::member_message{.head = {.kind = ipc::wire::kind::welcome}}));
     }},
    {"the answer is a refusal",
     errc::no_space,
     {"no room for you"},
     [](auto& server) {
         const ipc::wire::attach_reply reply{.refusal = static_cast<int>(errc::no_space),
                                             .sentence = fixed_name<256>{"no room for you"}};
         server.send(ipc::wire::bytes_of(reply));
     }},
};

}  // namespace

TEST_CASE("the region of the fake server is accepted unless it is spoiled", "[attach][refusal]")
{
    fake_server server;
    fake_region region;
    auto visitor = newcomer();
    server.accept();
    server.send(ipc::wire::bytes_of(region.answer), region.descriptors);

    CHECK(visitor.wait().status == exit_status{});
}

TEST_CASE("a spoiled region is refused with what is wrong, and nothing is written to it",
          "[attach][refusal]")
{
    for (const auto& row : spoiled)
        DYNAMIC_SECTION(row.name)
        {
            fake_server server;
            fake_region region;
            row.spoil(region);
            const auto before = region.content();
            auto visitor = newcomer();
            server.accept();

            server.send(ipc::wire::bytes_of(region.answer), region.descriptors);

            check_refused(visitor.wait(), row.code, row.says);
            CHECK(first_difference(before, region.content()) == std::nullopt);
        }
}

TEST_CASE("descriptors cut off by a limit of the newcomer are refused as such", "[attach][refusal]")
{
    fake_server server;
    fake_region region;
    region.descriptors.resize(ipc::max_message_fds, region.control.get());
    attempt visitor{"attach_probe_pie", {"fake", "1", "--observe", "--descriptors", "64"}};
    server.accept();

    server.send(ipc::wire::bytes_of(region.answer), region.descriptors);

    check_refused(visitor.wait(), errc::bad_input, {"cut", "ulimit -n"});
}

TEST_CASE("an answer that is none is refused with what is wrong", "[attach][refusal]")
{
    for (const auto& row : answers)
        DYNAMIC_SECTION(row.name)
        {
            fake_server server;
            auto visitor = newcomer();
            server.accept();

            row.act(server);

            check_refused(visitor.wait(), row.code, row.says);
        }
}

TEST_CASE("a server that never answers costs the newcomer the time it was given",
          "[attach][refusal]")
{
    fake_server server;
    auto visitor = newcomer("300");
    server.accept();

    const auto seen = visitor.wait();

    check_refused(seen, errc::timed_out, {"did not answer in time", "stopped"});
    CHECK(seen.took >= 300ms);
}

TEST_CASE("a server that does not accept costs the newcomer the time it was given",
          "[attach][refusal]")
{
    const fake_server server;
    std::vector<file_descriptor> queue;
    try {
        for (;;)  // until the queue of the listener is full
            queue.push_back(ipc::connect_to(server.socket(), deadline_in(50ms)));
    } catch (const error& full) {
        REQUIRE(full.reason() == errc::timed_out);
    }

    const auto seen = newcomer("300").wait();

    check_refused(seen, errc::timed_out, {"did not accept a connection in time"});
    CHECK(seen.took >= 300ms);
}

TEST_CASE("a rendezvous without a listener is no domain", "[attach][refusal]")
{
    const scratch_runtime_directory directory;
    const auto place = directory.path() / "fake";
    std::filesystem::create_directory(place);
    std::filesystem::permissions(place, std::filesystem::perms::owner_all);
    const auto what_is_there = GENERATE(as<std::string>{}, "nothing", "a file", "a stale socket");
    if (what_is_there == "a file")
        std::ofstream{place / "primary.sock"} << "no socket";
    if (what_is_there == "a stale socket")
        static_cast<void>(ipc::listen_at(place / "primary.sock"));  // closed at once

    INFO(what_is_there);
    check_refused(newcomer().wait(), errc::no_such_domain, {"nobody listens at", "primary.sock"});
}

TEST_CASE("a server of another user is not trusted", "[attach][refusal]")
{
    COHORT_SKIP_UNLESS(::geteuid() == 0, "root");
    const fake_server server;
    // The kernel tells newcomers who called listen.
    REQUIRE(::seteuid(65534) == 0);
    const bool listens = ::listen(server.listener(), 8) == 0;
    REQUIRE(::seteuid(0) == 0);
    REQUIRE(listens);
    // Root trusts nobody else; others trust themselves and root.
    const auto seen = newcomer().wait();

    check_refused(seen, errc::wrong_owner, {"served by uid 65534", "runs as uid 0"});
}

}  // namespace cohort::test
