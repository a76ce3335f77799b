// A live primary hands over to the next one, and members do not notice.

#include "cohort/ipc/attach.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/telemetry.hpp"
#include "cohort/primary/primary.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/member_process.hpp"
#include "support/scale.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/resource.h>
#include <unistd.h>

namespace cohort::test {
namespace {

/// Starts a successor of `primary`, which has to end by itself, and takes its place.
void hand_over(living_domain& domain, std::vector<std::string> options = {})
{
    options.push_back("--hand-over");
    auto successor = start_cohortd(domain.name(), std::move(options));
    CHECK(domain.primary().wait(patience) == exit_status{});
    domain.follow(std::move(successor));
}

/// Who answers DPDK's clients of that domain.
pid_t telemetry_server(const std::string& domain)
{
    const auto path = ipc::telemetry_path(domain);
    return ipc::peer_of(ipc::connect_to(path, deadline_in(patience)).get()).pid;
}

/// A process that can open nothing more, also in the place of what it closes.
class without_descriptors {
public:
    explicit without_descriptors(pid_t pid) : pid_{pid}
    {
        REQUIRE(::prlimit(pid, RLIMIT_NOFILE, nullptr, &before_) == 0);
        const rlimit none{STDERR_FILENO + 1, before_.rlim_max};
        REQUIRE(::prlimit(pid, RLIMIT_NOFILE, &none, nullptr) == 0);
    }
    void end() const { REQUIRE(::prlimit(pid_, RLIMIT_NOFILE, &before_, nullptr) == 0); }

private:
    pid_t pid_;
    rlimit before_{};
};

/// Sends numbers through a ring from one thread to another, and looks at the primary all the time.
class traffic {
public:
    explicit traffic(secondary::attachment& domain)
        : domain_{domain}
        , ring_{domain.create_ring<std::uint64_t>("numbers", 256)}
    {
    }
    ~traffic()
    {
        stop_ = true;
        producer_.join();
        consumer_.join();
    }

    std::atomic<std::uint64_t> received{0};
    std::atomic<std::uint64_t> out_of_order{0};
    std::atomic<std::uint64_t> without_primary{0};

private:
    void produce()
    {
        for (std::uint64_t next = 0; !stop_;) {
            next += ring_.enqueue(next) ? 1 : 0;
            without_primary += domain_.primary_alive() ? 0 : 1;
            std::this_thread::yield();
        }
    }
    void consume()
    {
        while (!stop_) {
            std::uint64_t number = 0;
            if (!ring_.dequeue(number))
                std::this_thread::yield();
            else if (received.fetch_add(1) != number)
                ++out_of_order;
        }
    }

    secondary::attachment& domain_;
    ring<std::uint64_t> ring_;
    std::atomic<bool> stop_{false};
    std::thread producer_{[this] { produce(); }};
    std::thread consumer_{[this] { consume(); }};
};

}  // namespace

TEST_CASE("a live primary hands over and ends, and members do not notice", "[handover]")
{
    living_domain domain;
    const auto member = secondary::attach(domain.name(), patience, "tester");
    traffic flow{*member};
    const auto epoch = member->region().header.epoch.load();

    for (std::uint32_t round = 1; round <= 5; ++round) {
        const auto before = flow.received.load();
        hand_over(domain);
        REQUIRE(eventually([&] { return flow.received > before; }));
        CHECK(member->region().header.epoch.load() == epoch + round);
        CHECK(secondary::primary_alive(domain.name()));
    }

    CHECK(flow.out_of_order == 0);
    CHECK(flow.without_primary == 0);
    member_process fresh{"fresh", domain.name()};
    fresh.tell("offer ping");
    auto& actions = member->actions();
    CHECK(actions.request(*actions.find_member("fresh"), "ping", "", 10s).text() == "pong ");
    fresh.kill();
    CHECK(eventually([&] { return live_members(member->region()) == 2; }));
    CHECK(audit(audited(member->region())).clean());
}

TEST_CASE("whoever asks by DPDK's protocol is answered by each primary that takes over",
          "[handover][telemetry]")
{
    living_domain domain{"alive", {"--telemetry"}};
    REQUIRE(telemetry_server(domain.name()) == domain.primary().pid());

    for (int round = 0; round != 3; ++round) {
        hand_over(domain, {"--telemetry"});
        CHECK(telemetry_server(domain.name()) == domain.primary().pid());
    }
}

TEST_CASE("whoever attaches while a primary hands over is admitted, by one or the other",
          "[handover]")
{
    living_domain domain;
    std::atomic<bool> stop{false};
    std::atomic<int> admitted{0};
    std::string refused;
    auto newcomers = std::thread{[&] {
        while (!stop)
            try {
                static_cast<void>(secondary::attach(domain.name(), patience, "newcomer"));
                ++admitted;
            } catch (const error& why) {
                refused = why.what();
                return;
            }
    }};

    for (int round = 0; round != 10; ++round) {
        const auto before = admitted.load();
        hand_over(domain);
        if (!eventually([&] { return admitted > before + 1; }))
            break;
    }
    stop = true;
    newcomers.join();

    CHECK(refused == "");
    CHECK(admitted > 20);
    const auto seen = domain.observe();
    CHECK(eventually([&] { return live_members(seen.region()) == 1; }));
}

TEST_CASE("a successor of another layout is refused, and nobody notices", "[handover]")
{
    namespace wire = ipc::wire;
    const living_domain domain;
    const auto seen = domain.observe();
    const auto before = bytes_of(seen.region());

    const auto connection = ipc::connect_to(domain.socket(), deadline_in(patience));
    const wire::attach_request wish{.layout_hash = layout_hash() + 1,
                                    .as = wire::attach_as::successor,
                                    .pid = ::getpid(),
                                    .name = fixed_name<64>{"stranger"}};
    REQUIRE(ipc::send_message(connection.get(), wire::bytes_of(wish)));

    CHECK_THROWS_WITH(static_cast<void>(ipc::take_region(connection.get(), map_access::read_only,
                                                         deadline_in(patience))),
                      Catch::Contains("has layout"));
    CHECK_FALSE(first_difference(before, bytes_of(seen.region())));
    CHECK(secondary::primary_alive(domain.name()));
    member_process{"newcomer", domain.name()}.leave();
}

TEST_CASE("a hand-over with nobody to take over from is refused, and from the dead it adopts",
          "[handover]")
{
    scratch_runtime_directory empty;
    check_refused(run("cohortd", {"--domain", "nobody", "--hand-over"}), errc::no_such_domain,
                  {"nobody"});

    living_domain domain{"orphan"};
    const auto member = secondary::attach(domain.name(), patience, "tester");
    domain.primary().kill();
    REQUIRE(domain.primary().wait(patience));
    domain.follow(start_cohortd(domain.name(), {"--hand-over"}));
    CHECK(eventually([&] { return member->primary_alive(); }));
}

TEST_CASE("while one successor is stopped others are refused, and when it dies the primary serves",
          "[handover]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    for (const std::string point : {"handover.mapped", "handover.locked", "handover.serving"}) {
        INFO(point);
        living_domain domain{"held", {"--telemetry"}};
        const auto member = secondary::attach(domain.name(), patience, "tester");
        auto successor = child_process::spawn(
            "cohortd", {"--domain", "held", "--huge", "none", "--hand-over", "--telemetry"},
            {"COHORT_FAULT=" + point + ":1:stop"});
        await_stop(successor);

        const auto another =
            run("cohortd", {"--domain", "held", "--huge", "none", "--hand-over", "--timeout", "1"});
        check_refused(another, errc::timed_out, {"is starting and does not finish for"});
        CHECK(member->primary_alive());

        successor.kill();
        REQUIRE(successor.wait(patience));
        REQUIRE(eventually([&] { return secondary::primary_alive(domain.name()); }));
        member_process{"newcomer", domain.name()}.leave();
        CHECK(member->primary_alive());
        CHECK(eventually([&] { return live_members(member->region()) == 2; }));
        CHECK(telemetry_server(domain.name()) == domain.primary().pid());
        CHECK(domain.primary().wait(std::chrono::milliseconds{0}) == std::nullopt);
    }
}

TEST_CASE("cohort handover starts the next cohortd in its own place", "[handover][tool]")
{
    living_domain domain;
    const auto member = secondary::attach(domain.name(), patience, "tester");

    const auto daemon =
        std::filesystem::read_symlink("/proc/" + std::to_string(domain.primary().pid()) + "/exe");

    auto command = child_process::spawn(
        "cohort", {"--domain", domain.name(), "handover", "--", "--huge", "none"},
        {"PATH=" + daemon.parent_path().string() + ":/usr/bin:/bin"});
    const auto line = command.read_line(patience);

    REQUIRE(line);
    CHECK_THAT(*line, Catch::Contains("is adopted: pid " + std::to_string(command.pid())));
    CHECK(domain.primary().wait(patience) == exit_status{});
    CHECK(member->primary_alive());
    domain.follow(std::move(command));
}

TEST_CASE("a primary that cannot take its place back tries again, and answers others meanwhile",
          "[handover][telemetry]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    COHORT_SKIP_UNLESS(!any_sanitizer, "a build without a sanitizer: its checks open descriptors");
    living_domain domain{"held", {"--telemetry"}};
    const auto client = ipc::connect_to(ipc::telemetry_path("held"), deadline_in(patience));
    std::vector<std::byte> buffer(ipc::max_telemetry_bytes);
    const auto hears = [&] {
        REQUIRE(ipc::wait_readable(client.get(), deadline_in(patience)));
        return ipc::receive_message(client.get(), buffer).status ==
               ipc::received_message::status::message;
    };
    CHECK(hears());  // the greeting
    auto successor = child_process::spawn(
        "cohortd", {"--domain", "held", "--huge", "none", "--hand-over", "--telemetry"},
        {"COHORT_FAULT=handover.serving:1:stop"});
    await_stop(successor);

    const auto primary = domain.primary().pid();
    const without_descriptors starved{primary};
    successor.kill();
    REQUIRE(successor.wait(patience));
    for (int asked = 0; asked != 5; ++asked) {  // behind the connection that fails each time
        REQUIRE(ipc::send_message(client.get(), std::as_bytes(std::span{"/info", 5})));
        CHECK(hears());
    }
    CHECK_THROWS_AS(secondary::attach("held", 500ms, "early"), error);

    starved.end();
    member_process{"newcomer", "held"}.leave();
    CHECK(eventually([&] { return telemetry_server("held") == primary; }));
    CHECK(domain.primary().wait(0ms) == std::nullopt);
}

}  // namespace cohort::test
