// What a listener hears of a domain: who came and went, and what.

#include "cohort/ipc/events.hpp"
#include "process/living_domain.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <iterator>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using ipc::domain_event;
using ipc::event_kind;
using test::eventually;
using test::member_process;
using test::scratch_domain;

namespace {

/// Collects what a member hears.
class heard_events {
public:
    explicit heard_events(ipc::joined_domain& domain)
    {
        // The domain may outlive this, and goes on telling.
        domain.on_event([heard = heard_](const domain_event& event) {
            const std::lock_guard guard{heard->mutex};
            heard->all.push_back(event);
        });
    }
    [[nodiscard]] std::vector<domain_event> about(const std::string& name)
    {
        const std::lock_guard guard{heard_->mutex};
        std::vector<domain_event> found;
        std::ranges::copy_if(heard_->all, std::back_inserter(found),
                             [&](const auto& event) { return event.name == name; });
        return found;
    }
    [[nodiscard]] std::vector<event_kind> kinds(const std::string& name)
    {
        std::vector<event_kind> found;
        for (const auto& event : about(name))
            found.push_back(event.what);
        return found;
    }
    [[nodiscard]] std::uint64_t bytes(event_kind what)
    {
        const std::lock_guard guard{heard_->mutex};
        std::uint64_t sum = 0;
        for (const auto& event : heard_->all)
            sum += event.what == what ? event.bytes : 0;
        return sum;
    }

private:
    struct shared {
        std::mutex mutex;
        std::vector<domain_event> all;
    };
    std::shared_ptr<shared> heard_ = std::make_shared<shared>();
};

using kinds = std::vector<event_kind>;

}  // namespace

TEST_CASE("a listener hears who joins, leaves and dies, and how its own child ended",
          "[actions][events]")
{
    scratch_domain domain;
    heard_events heard{*domain};
    member_process leaves{"leaves"};
    member_process dies{"dies"};
    REQUIRE(eventually([&] { return heard.kinds("dies") == kinds{event_kind::member_joined}; }));
    REQUIRE(eventually([&] { return heard.kinds("leaves") == kinds{event_kind::member_joined}; }));

    leaves.leave();
    dies.process().kill();

    CHECK(eventually([&] {
        return heard.kinds("leaves") == kinds{event_kind::member_joined, event_kind::member_left};
    }));
    CHECK(eventually([&] {
        return heard.kinds("dies") == kinds{event_kind::member_joined, event_kind::member_died};
    }));
    CHECK(heard.about("dies").back().reason == "signal 9");
    CHECK(heard.about("dies").back().member == heard.about("dies").front().member);
}

TEST_CASE("a listener hears of objects and of memory that come and go, in order",
          "[actions][events]")
{
    scratch_domain domain;
    heard_events heard{*domain};

    domain->create_ring<int>("numbers", 100);
    REQUIRE(eventually([&] { return !heard.kinds("numbers").empty(); }));
    domain->destroy_ring("numbers");
    domain->reserve_memzone("large", 64_MiB);
    REQUIRE(eventually([&] { return heard.kinds("large").size() == 1; }));
    domain->release_memzone("large");
    domain->give_back_memory();

    CHECK(eventually([&] {
        return heard.kinds("numbers") ==
               kinds{event_kind::object_created, event_kind::object_destroyed};
    }));
    CHECK(eventually([&] {
        return heard.kinds("large") ==
               kinds{event_kind::object_created, event_kind::object_destroyed};
    }));
    CHECK(heard.about("large").front().bytes == 64_MiB);
    CHECK(heard.about("large").front().object == zone_kind::memzone);
    CHECK(heard.bytes(event_kind::memory_grown) >= 48_MiB);
    CHECK(eventually([&] { return heard.bytes(event_kind::memory_shrunk) >= 48_MiB; }));
}

TEST_CASE("a listener hears of a pool that grows, by the domain's memory or a user's",
          "[actions][events]")
{
    scratch_domain domain;
    heard_events heard{*domain};
    auto pool = domain->create_empty_mempool("growing",
                                             {.count = 90, .element_bytes = 64, .cache_size = 8});
    REQUIRE(eventually([&] { return heard.kinds("growing").size() == 1; }));
    const auto zone = domain->reserve_memzone("memory", 64_KiB);

    domain->populate(pool, {.count = 40});
    REQUIRE(eventually([&] { return heard.kinds("growing").size() == 2; }));
    domain->populate(pool, zone.bytes());

    CHECK(eventually([&] {
        return heard.kinds("growing") ==
               kinds{event_kind::object_created, event_kind::pool_grown, event_kind::pool_grown};
    }));
    CHECK(heard.about("growing")[1].objects == 40);
    CHECK(heard.about("growing")[2].objects == 50);
}

TEST_CASE("ports come and go beside one that is polled, and listeners of any process hear of each",
          "[actions][events][port]")
{
    scratch_domain domain;
    heard_events heard{*domain};
    auto other =
        test::child_process::spawn("cohort", {"-d", "scratch", "events", "--follow", "--json"});
    other.await("[]", test::patience);
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 0});
    auto busy = domain->create_port("busy", "null", {.rx_pool = "packets"});
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> received{0};
    std::thread poller{[&] {
        std::array<mbuf*, 8> burst;
        while (!stop) {
            const auto count = busy.rx_burst(0, burst);
            free_bulk(std::span{burst}.first(count));
            received += count;
        }
    }};
    kinds expected;
    const auto all_hear = [&](event_kind what) {
        expected.push_back(what);
        CHECK(eventually([&] { return heard.kinds("guest") == expected; }));
        auto line = other.read_line(test::patience);
        while (line && line->find("\"guest\"") == std::string::npos)
            line = other.read_line(test::patience);
        REQUIRE(line);
        CHECK_THAT(*line, Catch::Contains(std::string{ipc::to_text(what)}));
    };

    for (int round = 0; round != 5; ++round) {
        const auto before = received.load();
        auto guest = domain->create_port("guest", "null", {.rx_pool = "packets"});
        all_hear(event_kind::object_created);
        CHECK(domain->destroy_port("guest"));
        all_hear(event_kind::object_destroyed);
        CHECK(eventually([&] { return received > before; }));
    }

    stop = true;
    poller.join();
    for (const auto& event : heard.about("guest"))
        CHECK(event.object == zone_kind::port);
    CHECK(heard.kinds("busy") == kinds{event_kind::object_created});
}

TEST_CASE("members hear that the primary is lost, and that another one is back",
          "[actions][events]")
{
    test::living_domain domain;
    const auto member = secondary::attach(domain.name(), test::patience, "listener");
    heard_events heard{*member};

    domain.primary().kill();
    REQUIRE(eventually([&] {
        const auto seen = heard.kinds("cohortd");
        return std::ranges::count(seen, event_kind::member_died) == 1 &&
               std::ranges::count(seen, event_kind::primary_lost) == 1;
    }));
    auto next = test::start_cohortd(domain.name());

    CHECK(eventually([&] {
        const auto seen = heard.kinds("cohortd");
        return std::ranges::count(seen, event_kind::member_joined) == 1 &&
               std::ranges::count(seen, event_kind::primary_back) == 1;
    }));
}

TEST_CASE("a listener that hangs delays nobody else", "[actions][events]")
{
    std::atomic<bool> stuck{false};
    std::atomic<bool> released{false};
    std::atomic<std::uint64_t> missed{0};
    scratch_domain domain;
    member_process a{"a"};
    member_process b{"b"};
    a.tell("offer ping");
    domain->actions().on("own", [](ipc::message& received) { received.reply("its own"); });
    domain->on_event([&](const domain_event& event) {
        if (event.name == "flicker")
            missed += event.lost;
        if (!stuck.exchange(true))
            static_cast<void>(eventually([&] { return released.load(); }, std::chrono::minutes{5}));
    });

    b.kill();
    REQUIRE(eventually([&] { return stuck.load(); }));

    const auto answer_of = [](const std::string& member, const std::string& action) {
        auto tool = test::child_process::spawn(
            "cohort", {"-d", "scratch", "call", member, action, "x", "--timeout", "10000"});
        const auto line = tool.read_line(test::patience);
        CHECK(tool.wait(test::patience) == test::exit_status{});
        return line;
    };
    CHECK(answer_of("a", "ping") == "pong x");
    CHECK(answer_of("primary", "own") == "its own");  // the member that it hangs in
    member_process{"c"}.kill();                       // is buried there, too
    CHECK(eventually([&] { return test::live_members(domain->region()) == 2; }));

    for (int round = 0; round != 4; ++round) {
        domain->reserve_memzone("flicker", 4096);
        domain->release_memzone("flicker");
    }
    domain->reserve_memzone("flicker", 4096);
    released = true;
    CHECK(eventually([&] { return missed == 8; }));
    CHECK(domain->lost_events() >= 8);
}

TEST_CASE("a listener that throws keeps no event from the others", "[actions][events]")
{
    scratch_domain domain;
    domain->on_event([](const domain_event&) { throw std::runtime_error{"of the user"}; });
    heard_events heard{*domain};

    {
        member_process a{"a"};
        CHECK(eventually([&] { return heard.kinds("a").size() == 1; }));
    }
    CHECK(eventually([&] { return heard.kinds("a").size() == 2; }));
}

TEST_CASE("cohort events prints what happens, line by line", "[actions][events][tool]")
{
    test::living_domain domain;
    auto tool =
        test::child_process::spawn("cohort", {"-d", domain.name(), "events", "--follow", "--json"});
    tool.await("[]", test::patience);

    member_process a{"a", domain.name()};

    std::string line;
    while (line.find("\"member joined\"") == std::string::npos) {
        const auto next = tool.read_line(test::patience);
        REQUIRE(next);
        line = *next;
    }
    CHECK(line.find("\"name\":\"a\"") != std::string::npos);
}
