// Payload that no message can hold, and descriptors, with requests and replies.

#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/open_descriptors.hpp"
#include "support/scratch_domain.hpp"
#include "support/stopped.hpp"

#include <array>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace cohort;
using ipc::target;
using ipc::verdict;
using test::eventually;
using test::member_process;
using test::patience;
using test::scratch_domain;

namespace {

std::size_t memzones(scratch_domain& domain)
{
    std::size_t count = 0;
    domain->for_each_memzone([&](const memzone&) { ++count; });
    return count;
}

file_descriptor file_with(const std::string& text)
{
    file_descriptor made{::memfd_create("parcel", MFD_CLOEXEC)};
    REQUIRE(::pwrite(made.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    return made;
}

std::string text_in(const file_descriptor& file)
{
    std::array<char, 64> text{};
    const auto got = ::pread(file.get(), text.data(), text.size(), 0);
    return {text.data(), got > 0 ? static_cast<std::size_t>(got) : 0};
}

}  // namespace

TEST_CASE("payload above 64 KiB arrives whole both ways, and its memory is free afterwards",
          "[actions][parcel]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    const auto before = memzones(domain);
    const auto size = GENERATE(65'532u, 65'536u, 65'537u, 1'000'000u, 9'000'000u);
    std::string payload(size, 'x');
    payload.back() = 'y';

    const auto given = domain->actions().request(target{"a"}, "ping", payload, patience);

    CHECK(given.what == verdict::replied);
    CHECK((given.text() == "pong " + payload));
    CHECK(eventually([&] { return memzones(domain) == before; }));
}

TEST_CASE("what is too large is refused at the sender with the number", "[actions][parcel]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    const std::string nothing;
    const std::string_view huge{nothing.data(), ipc::max_boxed_payload + 1};  // is not read
    const std::vector<int> many(254, 0);

    const auto by_size = domain->actions().request(target{"a"}, "ping", huge, patience);
    auto by_count = domain->actions()
                        .request_async(target{"a"}, "ping", "", {.timeout = patience, .fds = many})
                        .wait();
    const auto by_memory =
        domain->actions().request(target{"a"}, "ping", std::string(65'537, 'x'), patience);

    CHECK(by_size.what == verdict::refused);
    CHECK(by_size.text() ==
          "member 2 \"a\" was not asked: a payload of 1073741825 bytes exceeds 1073741824");
    REQUIRE(by_count.size() == 1);
    CHECK(by_count[0].what == verdict::refused);
    CHECK(by_count[0].text() == "member 2 \"a\" was not asked: 254 descriptors exceed 253");
    CHECK(by_memory.what == verdict::replied);
}

TEST_CASE("descriptors go with a request and come with its reply, up to 253", "[actions][parcel]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer-mirror mirror");
    const auto count = GENERATE(0u, 1u, 2u, 253u);
    const auto before = test::open_descriptors();
    {
        std::vector<file_descriptor> files;
        std::vector<int> fds;
        for (unsigned i = 0; i != count; ++i) {
            files.push_back(file_with("file " + std::to_string(i)));
            fds.push_back(files.back().get());
        }

        auto given =
            domain->actions()
                .request_async(target{"a"}, "mirror", "and text", {.timeout = patience, .fds = fds})
                .wait();

        REQUIRE(given.size() == 1);
        REQUIRE(given[0].what == verdict::replied);
        CHECK(given[0].text() == "and text");
        REQUIRE(given[0].fds.size() == count);
        for (unsigned i = 0; i != count; ++i)
            CHECK(text_in(given[0].fds[i]) == "file " + std::to_string(i));
    }
    CHECK(eventually([&] { return test::open_descriptors() == before; }));
    CHECK(domain->actions().post().parcels() == 0);
}

TEST_CASE("messages of one sender keep their order whether or not descriptors go with them",
          "[actions][parcel]")
{
    scratch_domain domain;
    std::vector<std::pair<std::string, std::size_t>> heard;  // text, how many descriptors
    domain->actions().on("note", [&](ipc::message& received) {
        heard.emplace_back(received.text(), received.fds().size());
        received.reply("");
    });
    const auto file = file_with("x");
    const std::array fds{file.get()};
    std::vector<ipc::async_request> asked;

    for (int i = 0; i != 40; ++i)
        asked.push_back(domain->actions().request_async(
            target::group::primary, "note", std::to_string(i),
            {.timeout = patience,
             .fds = i % 2 == 1 ? std::span<const int>{fds} : std::span<const int>{}}));
    for (auto& one : asked)
        REQUIRE(one.wait().at(0).what == verdict::replied);

    REQUIRE(heard.size() == 40);
    for (std::size_t i = 0; i != heard.size(); ++i)
        CHECK(heard[i] == std::pair{std::to_string(i), i % 2});
}

TEST_CASE("payload and descriptors in the hands of a member that is killed come back",
          "[actions][parcel]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer-death ping");
    const auto zones_before = memzones(domain);
    const auto file = file_with("x");
    const std::array fds{file.get()};

    const auto given = domain->actions()
                           .request_async(target{"a"}, "ping", std::string(1'000'000, 'x'),
                                          {.timeout = patience, .fds = fds})
                           .wait();

    CHECK(given.at(0).what == verdict::died);
    CHECK(eventually([&] { return memzones(domain) == zones_before; }));
    CHECK(eventually([&] { return domain.audit().clean(); }));
}

TEST_CASE("payload to a member that was stopped and killed comes back", "[actions][parcel]")
{
    scratch_domain domain;
    member_process a{"a"};
    const auto zones_before = memzones(domain);
    stop(a.process());

    const auto given =
        domain->actions().request(target{"a"}, "ping", std::string(1'000'000, 'x'), 100ms);
    CHECK(given.what == verdict::timed_out);
    CHECK(memzones(domain) == zones_before + 1);
    a.kill();

    CHECK(eventually([&] { return memzones(domain) == zones_before; }));
}

TEST_CASE("descriptors without a message are few, and closed when their sender is gone",
          "[actions][parcel]")
{
    scratch_domain domain;
    member_process a{"a"};
    const auto from = domain->actions().find_member("a").value();
    const auto file = file_with("x");
    const std::array fds{file.get()};
    const auto before = test::open_descriptors();

    const auto hostile =
        ipc::connect_to(domain->place().member_socket(domain->self().id), deadline_in(patience));
    ipc::wire::parcel ahead{.member = from.id, .generation = from.generation, .number = 0};
    bool refused = false;
    for (; ahead.number != 10'000 && !refused; ++ahead.number)
        refused = !eventually([&] {
            return ipc::send_message(hostile.get(), ipc::wire::bytes_of(ahead), fds) ||
                   errno == EPIPE;
        }) || errno == EPIPE;
    CHECK(eventually([&] { return domain->actions().post().parcels() == 64; }));
    a.kill();

    CHECK(eventually([&] { return domain->actions().post().parcels() == 0; }));
    CHECK(eventually([&] { return test::open_descriptors() <= before + 1; }));
}

TEST_CASE("a message whose descriptors never come is refused and counted", "[actions][parcel]")
{
    scratch_domain domain;
    domain->actions().on("ping", [](ipc::message& received) { received.reply("pong"); });
    member_process a{"a"};

    // As a hostile sender would: the message announces what was not sent.
    ipc::post_office post{*domain};
    const auto posted = post.post(domain->self(),
                                  {.kind = ipc::message_kind::send,
                                   .action = "ping",
                                   .payload = {},
                                   .fd_count = 3,
                                   .parcel = 77},
                                  [](member_ref) {});

    REQUIRE(posted == ipc::post_office::delivery::delivered);
    CHECK(eventually([&] { return domain->actions().post().dropped() == 1; }));
    CHECK(domain->actions().request(target::group::primary, "ping", "", patience).text() == "pong");
}
