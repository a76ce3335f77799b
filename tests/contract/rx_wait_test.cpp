// Sleeping at an rx queue, run for each driver: who is woken, when, and who may take the queue
// over.

#include "cohort/port/rx_wait.hpp"

#include "cohort/base/error.hpp"
#include "contract/any_driver.hpp"
#include "contract/wired_port.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/open_descriptors.hpp"
#include "support/skip.hpp"
#include "support/thread_state.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include <fmt/format.h>

#include <sys/epoll.h>
#include <unistd.h>

namespace cohort::test {
namespace {

/// An epoll instance over descriptors of ports.
class loop {
public:
    explicit loop(std::initializer_list<int> descriptors) : epoll_{::epoll_create1(EPOLL_CLOEXEC)}
    {
        for (const int fd : descriptors) {
            epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
            REQUIRE(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
        }
    }
    /// The descriptor that is readable, or -1 when none is in time.
    [[nodiscard]] int wait(std::chrono::milliseconds longest) const
    {
        epoll_event event{};
        const auto count = ::epoll_wait(epoll_.get(), &event, 1, static_cast<int>(longest.count()));
        return count == 1 ? event.data.fd : -1;
    }

private:
    file_descriptor epoll_;
};

/// A lane that owns the queue, unless that is stopped, and sleeps until `wake` is known.
class sleeper {
public:
    explicit sleeper(port& at)
        : thread_{[this, &at] {
            static_cast<void>(at.rx_burst(0, {}));
            owner_ = ::gettid();
            wake_ = at.rx_wait(0, deadline_in(patience));
            woken_at_ = steady_clock::now();
            received_ = receive_now(at);
        }}
    {
        REQUIRE(eventually([&] {
            return owner_ != 0 &&
                   thread_state(fmt::format("/proc/self/task/{}", owner_.load())) == 'S';
        }));
    }
    ~sleeper()
    {
        if (thread_.joinable())
            thread_.join();
    }
    rx_wake wake()
    {
        thread_.join();
        return wake_;
    }
    [[nodiscard]] steady_clock::time_point woken_at() const { return woken_at_; }
    [[nodiscard]] std::size_t received() const { return received_; }

private:
    std::atomic<pid_t> owner_{0};
    rx_wake wake_ = rx_wake::nothing;
    steady_clock::time_point woken_at_;
    std::size_t received_ = 0;
    std::thread thread_;
};

}  // namespace

TEST_CASE("who sleeps at an empty queue is woken by a packet", "[port][contract][sleep]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    std::array<steady_clock::duration, 11> took;
    for (auto& each : took) {
        wired.port().release_rx(0);
        sleeper asleep{wired.port()};
        const auto supplied_at = steady_clock::now();

        wired.supply_one();

        CHECK(asleep.wake() == rx_wake::ready);
        CHECK(asleep.received() == 1);
        each = asleep.woken_at() - supplied_at;
    }
    // A sleeper looks again by itself after 100 ms: it would find a packet that does not wake it.
    // The median, because a busy machine delays some.
    std::sort(took.begin(), took.end());
    CHECK(took[took.size() / 2] < 50ms);
}

TEST_CASE("who sleeps where packets are does not sleep", "[port][contract][sleep]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    free_bulk(wired.receive(8));

    CHECK(wired.port().rx_wait(0, deadline_in(patience)) == rx_wake::ready);
    CHECK(receive_now(wired.port()) == 8);
    CHECK(wired.port().rx_arm(0) == rx_wake::ready);
}

TEST_CASE("a sleep ends at its deadline and not before", "[port][contract][sleep]")
{
    const auto driver = any_finite_driver();
    INFO(driver);
    empty_port wired{driver};
    const auto until = deadline_in(120ms);  // longer than a slice

    CHECK(wired.port().rx_wait(0, until) == rx_wake::nothing);
    CHECK(steady_clock::now() >= until);
    CHECK(wired.port().rx_wait(0, deadline{}) == rx_wake::nothing);
    CHECK(wired.port().rx_wait(9, deadline_in(patience)) == rx_wake::gone);
}

TEST_CASE("who sleeps lets go of a port or queue that is stopped, and goes on when it is started",
          "[port][contract][sleep]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    const bool queue_alone = GENERATE(false, true);
    empty_port wired{driver};
    auto& port = wired.port();
    REQUIRE(port.release_rx(0));
    sleeper asleep{port};

    queue_alone ? port.stop_rx(0) : port.stop();

    CHECK(eventually([&] { return port.layout().rx[0].owner.holder() == 0; }));
    queue_alone ? port.start_rx(0) : port.start();
    wired.supply_one();
    CHECK(asleep.wake() == rx_wake::ready);
    CHECK(asleep.received() == 1);
}

TEST_CASE("who sleeps at a queue that is stopped by itself wakes when it is started again",
          "[port][contract][sleep][queue]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    auto& port = wired.port();
    port.stop_rx(0);
    CHECK(port.rx_wait(0, deadline_in(5ms)) == rx_wake::nothing);
    sleeper asleep{port};
    wired.supply_one();

    port.start_rx(0);

    CHECK(asleep.wake() == rx_wake::ready);
    CHECK(asleep.received() == 1);
}

TEST_CASE("a descriptor of a stopped queue is quiet, whatever waits at the device",
          "[port][contract][sleep][queue]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    const bool by_owner = GENERATE(true, false);
    empty_port wired{driver};
    auto& port = wired.port();
    const loop waits{port.rx_fd(0)};
    CHECK(port.rx_arm(0) == rx_wake::nothing);  // from here on it listens to the device
    if (by_owner)
        port.stop_rx(0);
    else
        std::thread{[&] { port.stop_rx(0); }}.join();
    wired.supply_one();
    CHECK(eventually([&] {  // what has changed is told once
        CHECK(port.rx_arm(0) == rx_wake::nothing);
        return waits.wait(250ms) == -1;  // longer than from look to look of the dispatcher
    }));

    port.start_rx(0);
    CHECK(waits.wait(patience) == port.rx_fd(0));
    CHECK(eventually([&] { return receive_now(port) == 1; }));
}

TEST_CASE("who sleeps does not keep a port from being destroyed", "[port][contract][sleep]")
{
    const auto driver = any_finite_driver();
    INFO(driver);
    empty_port wired{driver};
    auto other = wired.domain().find_port("port").value();
    const loop ours{other.rx_fd(0)};
    REQUIRE(wired.port().release_rx(0));
    sleeper asleep{wired.port()};
    CHECK(other.rx_arm(0) == rx_wake::nothing);

    CHECK(eventually([&] {
        try {
            return wired.domain().destroy_port("port");
        } catch (const error&) {
            return false;  // on a busy machine it may not have come to let go
        }
    }));

    CHECK(asleep.wake() == rx_wake::gone);
    CHECK(ours.wait(patience) == other.rx_fd(0));
    CHECK(other.rx_arm(0) == rx_wake::gone);
    CHECK(ours.wait(patience) != -1);
}

TEST_CASE("one loop around epoll waits for two ports", "[port][contract][sleep]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    auto extra = wired.domain().create_ring<mbuf*>("extra", 64);
    auto second = wired.domain().create_port("second", "ring:rx=extra");
    auto& first = wired.port();
    const loop both{first.rx_fd(0), second.rx_fd(0)};

    for (int round = 0; round != 20; ++round) {
        // What a lane does to a queue for the first time may wake once more.
        CHECK(eventually([&] {
            return first.rx_arm(0) == rx_wake::nothing && second.rx_arm(0) == rx_wake::nothing &&
                   both.wait(0ms) == -1;
        }));
        wired.supply_one();
        CHECK(both.wait(patience) == first.rx_fd(0));
        CHECK(receive_now(first) == 1);
        CHECK(eventually(
            [&] { return first.rx_arm(0) == rx_wake::nothing && both.wait(0ms) == -1; }));
        REQUIRE(extra.enqueue(wired.packet(0)));
        CHECK(both.wait(patience) == second.rx_fd(0));
        CHECK(receive_now(second) == 1);
    }
}

TEST_CASE("no packet is slept over, however often one comes between the look and the sleep",
          "[port][contract][sleep]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    constexpr int rounds = 100;
    const loop ours{wired.port().rx_fd(0)};
    std::atomic<int> received{0};
    std::thread sender{[&] {
        for (int i = 0; i != rounds; ++i) {
            wired.supply_one();
            while (received.load() == i)
                std::this_thread::yield();
        }
    }};

    bool in_time = true;
    while (received != rounds && in_time) {
        const auto count = static_cast<int>(receive_now(wired.port()));
        if (count == 0 && wired.port().rx_arm(0) == rx_wake::nothing)
            in_time = ours.wait(patience) != -1;
        received += count;
    }

    CHECK(received == rounds);
    received = rounds + 1;
    sender.join();
}

TEST_CASE("the queue of a sleeper that is killed wakes the next one", "[port][contract][sleep]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    auto& port = wired.port();
    const loop ours{port.rx_fd(0)};
    REQUIRE(port.release_rx(0));
    auto other = child_process::spawn("port_sleeper", {"wired"});
    other.await("asleep", patience);
    CHECK(port.rx_wait(0, deadline_in(20ms)) == rx_wake::nothing);  // the queue is not ours
    CHECK(port.rx_arm(0) == rx_wake::nothing);

    other.kill();
    REQUIRE(other.wait(patience));

    CHECK(ours.wait(patience) != -1);  // the queue has changed hands
    wired.supply_one();
    CHECK(port.rx_wait(0, deadline_in(patience)) == rx_wake::ready);
    CHECK(receive_now(port) == 1);
}

TEST_CASE("a sleeper in another process is woken", "[port][contract][sleep]")
{
    const auto driver = any_live_driver();
    INFO(driver);
    empty_port wired{driver};
    REQUIRE(wired.port().release_rx(0));
    auto other = child_process::spawn("port_sleeper", {"wired"});
    other.await("asleep", patience);

    wired.supply_one();

    other.await("woken", patience);
}

TEST_CASE("an interface that goes down and up again wakes with the next packet",
          "[port][contract][sleep]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const auto driver = any_interface_driver();
    INFO(driver);
    empty_port wired{driver};
    auto& port = wired.port();
    const std::string name = driver == "tap" ? "tap" : "near";
    const loop ours{port.rx_fd(0)};

    scratch_network::run("ip link set " + name + " down");

    CHECK(port.rx_wait(0, deadline_in(150ms)) == rx_wake::nothing);
    CHECK(eventually([&] { return port.rx_arm(0) == rx_wake::nothing && ours.wait(0ms) == -1; }));
    scratch_network::run("ip link set " + name + " up");
    CHECK(eventually([&] {
        wired.supply_one();
        return port.rx_wait(0, deadline_in(50ms)) == rx_wake::ready;
    }));
    CHECK(receive_now(port) != 0);
}

TEST_CASE("an interface that is deleted lets who sleeps sleep", "[port][contract][sleep]")
{
    COHORT_SKIP_UNLESS(scratch_network::possible(), scratch_network::missing);
    const auto driver = any_interface_driver();
    INFO(driver);
    empty_port wired{driver};
    auto& port = wired.port();
    const loop ours{port.rx_fd(0)};

    scratch_network::run(std::string{"ip link del "} + (driver == "tap" ? "tap" : "near"));

    CHECK(port.rx_wait(0, deadline_in(150ms)) == rx_wake::nothing);
    CHECK(eventually([&] { return port.rx_arm(0) == rx_wake::nothing && ours.wait(0ms) == -1; }));
    CHECK(receive_now(port) == 0);
}

TEST_CASE("a handle that goes leaves no descriptor behind", "[port][contract][sleep]")
{
    const auto driver = any_driver();
    INFO(driver);
    wired_port wired{driver};
    REQUIRE(wired.port().release_rx(0) == false);
    const auto before = open_descriptors();
    {
        auto other = wired.domain().find_port("port").value();
        CHECK(other.rx_fd(0) == other.rx_fd(0));
        static_cast<void>(other.rx_arm(0));
        CHECK(open_descriptors() > before);
        CHECK_THROWS_AS(other.rx_fd(9), error);
    }
    CHECK(open_descriptors() == before);
}

}  // namespace cohort::test
