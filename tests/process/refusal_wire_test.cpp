// Newcomers that do not keep to the protocol: the primary refuses or hangs up, changes nothing, and
// goes on serving the others.

#include "cohort/domain/region_layout.hpp"
#include "cohort/ipc/peers.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/syscall.h>
#include <unistd.h>

namespace cohort::test {
namespace {

namespace wire = ipc::wire;

/// A newcomer played by the test.
class newcomer {
public:
    explicit newcomer(const living_domain& domain)
        : socket_{ipc::connect_to(domain.socket(), deadline_in(patience))}
    {
    }

    bool send(std::span<const std::byte> bytes, std::span<const int> fds = {})
    {
        return ipc::send_message(socket_.get(), bytes, fds);
    }
    template <typename Message>
    bool send(const Message& message, std::span<const int> fds = {})
    {
        return send(wire::bytes_of(message), fds);
    }

    struct answer {
        bool closed = false;
        wire::attach_reply reply;
        std::size_t descriptors = 0;
    };
    [[nodiscard]] answer read()
    {
        alignas(8) std::array<std::byte, wire::max_bytes> buffer{};
        REQUIRE(ipc::wait_readable(socket_.get(), deadline_in(patience)));
        const auto got = ipc::receive_message(socket_.get(), buffer);
        answer seen{.closed = got.status == ipc::received_message::status::closed,
                    .reply = {},
                    .descriptors = got.fds.size()};
        if (const auto* reply = wire::as<wire::attach_reply>(std::span{buffer}.first(got.bytes),
                                                             wire::kind::attach_reply))
            seen.reply = *reply;
        return seen;
    }

private:
    file_descriptor socket_;
};

wire::attach_request sound_request()
{
    return {.layout_hash = layout_hash(),
            .as = wire::attach_as::member,
            .pid = ::getpid(),
            .name = fixed_name<64>{"newcomer"}};
}

file_descriptor pidfd_of(pid_t pid)
{
    return file_descriptor{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
}

struct refused_request {
    std::string_view name;
    errc code;
    std::string says;
    std::function<void(newcomer&, living_domain&)> act;
};

const std::vector<refused_request> refusals{
    {"built with another layout, as a member", errc::layout_mismatch, "the newcomer was built with",
     [](newcomer& self, living_domain&) {
         auto wish = sound_request();
         wish.layout_hash ^= 1;
         self.send(wish);
     }},
    {"built with another layout, as an observer", errc::layout_mismatch,
     "run the same version of cohort everywhere",
     [](newcomer& self, living_domain&) {
         auto wish = sound_request();
         wish.layout_hash = 0;
         wish.as = wire::attach_as::observer;
         self.send(wish);
     }},
    {"without its descriptors", errc::invalid_argument, "did not send a pidfd of itself",
     [](newcomer& self, living_domain&) { self.send(sound_request()); }},
    {"with too many descriptors", errc::invalid_argument, "did not send a pidfd of itself",
     [](newcomer& self, living_domain&) {
         const auto wake = ipc::new_eventfd();
         const std::vector<int> many(ipc::max_message_fds, wake.get());
         self.send(sound_request(), many);
     }},
    {"with something that is no pidfd", errc::invalid_argument, "did not send a pidfd of itself",
     [](newcomer& self, living_domain&) {
         const auto wake = ipc::new_eventfd();
         self.send(sound_request(), std::array{wake.get(), wake.get()});
     }},
    {"with the pidfd of another process", errc::invalid_argument, "did not send a pidfd of itself",
     [](newcomer& self, living_domain& domain) {
         const auto stranger = pidfd_of(domain.primary().pid());
         const auto wake = ipc::new_eventfd();
         self.send(sound_request(), std::array{stranger.get(), wake.get()});
     }},
};

struct broken_message {
    std::string_view name;
    std::function<void(newcomer&)> act;
};

const std::vector<broken_message> broken{
    {"a single byte", [](newcomer& self) { self.send(std::array{std::byte{1}}); }},
    {"a request cut in half",
     [](newcomer& self) {
         const auto wish = sound_request();
         self.send(wire::bytes_of(wish).first(sizeof wish / 2));
     }},
    {"a message longer than any",
     [](newcomer& self) { self.send(std::vector<std::byte>(wire::max_bytes + 8)); }},
    {"another magic",
     [](newcomer& self) {
         auto wish = sound_request();
         wish.head.magic ^= 1;
         self.send(wish);
     }},
    {"a kind that does not exist",
     [](newcomer& self) { self.send(wire::member_message{.head = {.kind = wire::kind{99}}}); }},
    {"joined, without having asked",
     [](newcomer& self) {
         self.send(wire::member_message{
             .head = {.kind = wire::kind::joined}, .member = 1, .generation = 1});
     }},
    {"joined, as a member that cannot exist",
     [](newcomer& self) {
         const auto own = ipc::own_pidfd();
         const auto wake = ipc::new_eventfd();
         self.send(sound_request(), std::array{own.get(), wake.get()});
         static_cast<void>(self.read());
         self.send(wire::member_message{
             .head = {.kind = wire::kind::joined}, .member = 0xffff'ffff, .generation = 1});
     }},
    {"news of a member that cannot exist",
     [](newcomer& self) {
         const auto wake = ipc::new_eventfd();
         self.send(wire::member_message{.head = {.kind = wire::kind::peer},
                                        .member = max_members,
                                        .generation = 1},
                   std::array{wake.get(), wake.get()});
     }},
    {"news of another member, from somebody who is none",
     [](newcomer& self) {
         const auto own = ipc::own_pidfd();
         const auto wake = ipc::new_eventfd();
         self.send(
             wire::member_message{.head = {.kind = wire::kind::peer}, .member = 9, .generation = 1},
             std::array{own.get(), wake.get()});
     }},
    {"adoption of a domain whose primary lives",
     [](newcomer& self) {
         const auto own = ipc::own_pidfd();
         const auto wake = ipc::new_eventfd();
         self.send(wire::member_message{.head = {.kind = wire::kind::adopt},
                                        .member = 9,
                                        .generation = 1},
                   std::array{own.get(), wake.get()});
     }},
};

}  // namespace

TEST_CASE("the primary answers a wrong request with the reason and stays as it was",
          "[attach][refusal]")
{
    for (const auto& row : refusals)
        DYNAMIC_SECTION(row.name)
        {
            living_domain domain;
            const auto watcher = domain.observe();
            const auto before = bytes_of(watcher.region());
            newcomer self{domain};

            row.act(self, domain);

            const auto answer = self.read();
            CHECK(answer.reply.refusal == static_cast<int>(row.code));
            CHECK_THAT(std::string{answer.reply.sentence.view()}, Catch::Contains(row.says));
            CHECK(answer.descriptors == 0);
            CHECK(self.read().closed);
            CHECK(first_difference(before, bytes_of(watcher.region())) == std::nullopt);
            CHECK(run("attach_probe_pie", {domain.name(), "1"}).status == exit_status{});
        }
}

TEST_CASE("the primary hangs up on what is no message, stays as it was and serves on",
          "[attach][refusal]")
{
    for (const auto& row : broken)
        DYNAMIC_SECTION(row.name)
        {
            living_domain domain;
            const auto watcher = domain.observe();
            const auto before = bytes_of(watcher.region());
            newcomer self{domain};

            row.act(self);

            CHECK(self.read().closed);
            CHECK(first_difference(before, bytes_of(watcher.region())) == std::nullopt);
            CHECK(run("attach_probe_pie", {domain.name(), "1"}).status == exit_status{});
        }
}

}  // namespace cohort::test
