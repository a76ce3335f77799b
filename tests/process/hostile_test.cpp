// A peer that writes anything into its messages and sends anything over the sockets: what it sends
// is counted and dropped, and the channel, descriptors and memory stay sound.

#include "cohort/ipc/message.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/open_descriptors.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"

#include <array>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using ipc::target;
using test::eventually;
using test::member_process;
using test::patience;
using test::scratch_domain;

namespace {

/// Puts messages into the inbox as no sender of the library would.
class hostile_sender {
public:
    explicit hostile_sender(primary::owner& domain)
        : pool_{domain.find_mempool("cohort.messages").value()}
        , inbox_{domain
                     .find_ring<ipc::message_layout*>("cohort.inbox." +
                                                      std::to_string(domain.self().id))
                     .value()}
        , self_{domain.self()}
    {
    }

    /// A sound request of the receiver to itself, and then `scribble` writes over it.
    template <typename Scribble>
    void send(Scribble&& scribble)
    {
        void* object = pool_.get();
        REQUIRE(object);
        auto* message = ::new (object) ipc::message_layout{};
        message->id = 1;
        message->from_generation = message->to_generation = self_.generation;
        message->from = message->to = self_.id;
        message->kind = ipc::message_kind::send;
        message->payload_bytes = 8;
        message->action = fixed_name<64>{"ping"};
        scribble(*message);
        if (!inbox_.enqueue(message))
            pool_.put(object);
    }

private:
    mempool pool_;
    ring<ipc::message_layout*> inbox_;
    member_ref self_;
};

void check_soundness(scratch_domain& domain)
{
    CHECK(domain->actions().request(target::group::primary, "ping", "x", patience).text() ==
          "pong");
    CHECK(eventually([&] { return domain.audit_of("cohort.messages").free() == 1024; }));
    CHECK(eventually([&] { return domain.audit_of("cohort.messages.large").in_pool == 32; }));
    CHECK(domain.audit().clean());
}

}  // namespace

TEST_CASE("whatever stands in a message, it is handled or counted and dropped",
          "[actions][hostile]")
{
    scratch_domain domain;
    domain->actions().on("ping", [](ipc::message& received) {
        std::size_t sum = 0;
        for (const auto byte : received.payload())  // all of it may be read
            sum += static_cast<std::size_t>(byte);
        received.reply(sum != ~std::size_t{0} ? "pong" : "");
    });
    hostile_sender hostile{*domain};
    std::mt19937 random{test::seed()};

    hostile.send([](auto& message) { message.payload_bytes = 897; });
    hostile.send([](auto& message) { message.payload_bytes = 0xffff'ffff; });
    hostile.send([](auto& message) { message.from = 64; });
    hostile.send([](auto& message) { message.from = 0; });
    hostile.send([](auto& message) { message.to = 2; });
    hostile.send([](auto& message) { ++message.to_generation; });
    hostile.send([](auto& message) { message.kind = ipc::message_kind{5}; });
    hostile.send([](auto& message) { message.action = {}; });
    hostile.send([](auto& message) { message.boxed_bytes = 1; });
    CHECK(eventually([&] { return domain->bad_input() == 9; }));

    const auto rounds = test::scaled(3000, 1'000'000);
    for (std::uint64_t round = 0; round != rounds; ++round) {
        if (round % 64 == 0)  // rings, and waits until all is read
            static_cast<void>(domain->actions().request(target::group::primary, "ping"));
        hostile.send([&](ipc::message_layout& message) {
            std::array<std::byte, sizeof message + 64> bytes;
            std::memcpy(bytes.data(), &message, bytes.size());
            for (auto changes = random() % 8 + 1; changes != 0; --changes)
                bytes[random() % bytes.size()] = static_cast<std::byte>(random());
            bytes[offsetof(ipc::message_layout, fd_count)] = std::byte{0};  // waits, see below
            std::memcpy(static_cast<void*>(&message), bytes.data(), bytes.size());
        });
    }

    CHECK(domain->bad_input() > 9);
    check_soundness(domain);
}

TEST_CASE("whatever comes over a socket is answered, or counted and hung up on",
          "[actions][hostile]")
{
    scratch_domain domain;
    domain->actions().on("ping", [](ipc::message& received) { received.reply("pong"); });
    const auto before = test::open_descriptors();
    std::mt19937 random{test::seed()};
    const auto path = domain->place().member_socket(domain->self().id);
    const std::array fds{0, 1, 2};

    const auto rounds = test::scaled(300, 100'000);
    for (std::uint64_t round = 0; round != rounds; ++round) {
        const auto connection = ipc::connect_to(path, deadline_in(patience));
        std::vector<std::byte> bytes(random() % 600 + 1);
        for (auto& byte : bytes)
            byte = static_cast<std::byte>(random());
        const ipc::wire::header head{.kind = static_cast<ipc::wire::kind>(random() % 15)};
        if (random() % 4 != 0 && bytes.size() >= sizeof head)
            std::memcpy(bytes.data(), &head, sizeof head);
        static_cast<void>(
            ipc::send_message(connection.get(), bytes, std::span{fds}.first(random() % 4)));
    }

    CHECK(eventually([&] { return domain->bad_input() > 0; }));
    check_soundness(domain);
    CHECK(eventually([&] { return test::open_descriptors() == before; }));
}

TEST_CASE("a member that scribbles on its own inbox harms nobody else, and its successor finds a "
          "sound one",
          "[actions][hostile]")
{
    const std::string part = GENERATE("slots", "positions", "header", "all", "twice");
    INFO(part);
    scratch_domain domain;
    auto& actions = domain->actions();
    actions.on("ping", [](ipc::message& received) { received.reply("pong"); });
    member_process bystander{"bystander"};
    bystander.tell("offer ping");
    const auto rounds = test::scaled(3, 100);
    for (std::uint64_t round = 0; round != rounds; ++round) {
        const auto seed = std::to_string(test::seed() + round);
        auto hostile = test::child_process::spawn("scribbler", {"scratch", "hostile", seed});
        hostile.await("ready", patience);
        const auto victim = actions.find_member("hostile");
        REQUIRE(victim);
        for (int sent = 0; sent != 20; ++sent)  // lie there when it begins
            CHECK(actions.send(*victim, "ping", "x") == 1);
        hostile.tell(part);
        hostile.await("scribbled", patience);

        std::size_t refused = 0;
        for (int asked = 0; asked != 8; ++asked) {
            const auto given = actions.request(*victim, "ping", "x", 2ms);
            CHECK(given.what != ipc::verdict::replied);
            refused += given.what == ipc::verdict::refused ? 1 : 0;
            CHECK(actions.request(target{"bystander"}, "ping", "y", patience).text() == "pong y");
        }
        if (part == "header") {
            CHECK(refused != 0);
            CHECK_FALSE(domain.audit().clean());
        }
        hostile.kill();
        REQUIRE(hostile.wait(patience));
        CHECK(eventually([&] { return !actions.find_member("hostile"); }));
        check_soundness(domain);
    }

    member_process successor{"successor"};  // in its slot
    successor.tell("offer ping");
    CHECK(actions.request(target{"successor"}, "ping", "z", patience).text() == "pong z");
    check_soundness(domain);
}

TEST_CASE("who comes into the slot of a member that left its inbox damaged finds a sound one",
          "[actions][hostile]")
{
    scratch_domain domain;
    auto& actions = domain->actions();
    actions.on("ping", [](ipc::message& received) { received.reply("pong"); });
    auto hostile = test::child_process::spawn("scribbler", {"scratch", "hostile", "1"});
    hostile.await("ready", patience);
    const auto left = actions.find_member("hostile");
    REQUIRE(left);
    for (int sent = 0; sent != 20; ++sent)
        CHECK(actions.send(*left, "ping", "x") == 1);
    hostile.tell("twice");
    hostile.await("scribbled", patience);
    hostile.tell("leave");
    CHECK(hostile.wait(patience) == test::exit_status{});
    const auto pool = domain.audit_of("cohort.messages");
    CHECK(pool.count == 1024);
    CHECK(pool.free() < pool.count);

    member_process successor{"successor"};
    const auto found = actions.find_member("successor");
    REQUIRE(found);
    REQUIRE(found->id == left->id);
    successor.tell("offer ping");
    CHECK(actions.request(target{"successor"}, "ping", "z", patience).text() == "pong z");
    check_soundness(domain);
}
