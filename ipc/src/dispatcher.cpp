#include "cohort/ipc/dispatcher.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace cohort::ipc {
namespace {

constexpr auto look_around_every = 100ms;
// A busy caller looks at the clock at one of so many polls, and at its descriptors that often.
constexpr unsigned polls_between_looks = 64;
constexpr auto listen_every = 100us;
constexpr auto look_around_soon = 2ms;  // while something waits for room or for another reaper

constexpr std::uint64_t event_word(std::uint64_t kind, std::uint64_t detail) noexcept
{
    return kind << 32 | detail;
}

}  // namespace

dispatcher::dispatcher(domain& shared, actions& channel, peers& others,
                       const lock_description& lock, int own_wake)
    : domain_{shared}
    , actions_{channel}
    , peers_{others}
    , lock_{lock}
    , own_wake_{own_wake}
    , reaper_{shared.segments(), shared.region().recovery, shared.members(),
              [this](member_ref dead) { actions_.post().drain(dead.id); }}
    , events_{shared.region(), [this](member_ref dead) { return reason_of(dead); }}
    , epoll_{::epoll_create1(EPOLL_CLOEXEC)}
    , stop_{new_eventfd()}
{
    if (!epoll_)
        throw_errno(errno, "cannot make an epoll descriptor");
    watch(own_wake_, source::wake, 0);
    watch(stop_.get(), source::stop, 0);
}

dispatcher::~dispatcher()
{
    stop();
    actions_.set_pump({}, actions::server::thread);
}

void dispatcher::watch(int fd, source kind, std::uint64_t detail)
{
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = event_word(static_cast<std::uint64_t>(kind), detail);
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
        throw_errno(errno, "cannot watch a descriptor");
}

void dispatcher::start(std::unique_ptr<member_service> service,
                       std::vector<file_descriptor> listeners,
                       std::vector<file_descriptor> connections, dispatching how)
{
    service_ = std::move(service);
    listeners_ = std::move(listeners);
    for (const auto& listener : listeners_)
        watch(listener.get(), source::listener, static_cast<std::uint64_t>(listener.get()));
    for (auto& connection : connections) {
        const int fd = connection.get();
        watch(fd, source::connection, static_cast<std::uint64_t>(fd));
        connections_.emplace(fd, std::move(connection));
    }
    next_look_ = steady_clock::now();
    if (how == dispatching::own_thread) {
        actions_.set_pump(
            [this] {
                hear(0);
                return actions_.serve();
            },
            actions::server::thread);
        thread_ = std::thread{[this] { run(); }};
        return;
    }
    timer_ = file_descriptor{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    if (!timer_)
        throw_errno(errno, "cannot make a timer");
    watch(timer_.get(), source::timer, 0);
    actions_.set_pump(
        [this] {
            const std::lock_guard guard{turn_};
            hear(0);
            look_around_when_due();
            return actions_.serve();
        },
        actions::server::caller);
    poll(polling::until_readable);
}

int dispatcher::listen_in_place_of(int other, file_descriptor listener)
{
    const int fd = listener.get();
    watch(fd, source::listener, static_cast<std::uint64_t>(fd));
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, other, nullptr);
    std::erase_if(listeners_, [&](const auto& each) { return each.get() == other; });
    listeners_.push_back(std::move(listener));
    return fd;
}

void dispatcher::stop() noexcept
{
    stopping_.store(true, std::memory_order_release);
    if (!thread_.joinable())
        return events_.stop();
    actions_.end_requests();  // a handler may wait for an answer
    events_.stop();
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof one));
    thread_.join();
}

void dispatcher::learn(member_ref member, file_descriptor pidfd, file_descriptor wake)
{
    // The description of a pidfd is shared with other processes: closing ours does not end the
    // watch.
    peers_.for_each([&](const peers::descriptors& known) {
        if (known.member.id == member.id)
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, known.pidfd.get(), nullptr);
    });
    watch(pidfd.get(), source::member, member.id);
    peers_.set(member, std::move(pidfd), std::move(wake));
}

doorbell_layout& dispatcher::own_bell() noexcept
{
    return domain_.region().members.members[domain_.self().id].mailbox_bell;
}

void dispatcher::look_around_when_due()
{
    const auto now = steady_clock::now();
    if (now < next_look_)
        return;
    next_look_ = now + look_around_every;  // also when a look fails, or asks and gets here again
    look_around();
    if (domain_.region().recovery.some_wait.load(std::memory_order_relaxed) != 0)  // a hint only
        next_look_ = deadline_in(look_around_soon);
}

void dispatcher::run() noexcept
{
    ::pthread_setname_np(::pthread_self(), "dispatcher");
    static_cast<void>(domain_.members().lane());  // while there is one
    actions_.set_loop();
    while (!stopping_.load(std::memory_order_acquire)) {
        rounds_.fetch_add(1, std::memory_order_relaxed);  // one writer, who only counts
        try {
            look_around_when_due();  // reads the inbox, too
            actions_.serve();
            own_bell().arm();
            const auto until = std::min(next_look_, actions_.next_deadline());
            hear(actions_.post().is_empty() ? milliseconds_left(until) : 0);
        } catch (...) {
            // Nothing that one peer sends or one reap meets may end this thread.
            log(log_level::error, "dispatcher: {}", describe_thrown());
        }
    }
    domain_.leave_lane();
}

void dispatcher::set_timer()
{
    const auto until = std::min(next_look_, actions_.next_deadline());
    if (until == timer_set_for_)
        return;
    timer_set_for_ = until;
    const auto ns = std::max<std::int64_t>(
        1, std::chrono::nanoseconds{until.time_since_epoch()}.count());  // 0 would disarm it
    itimerspec when{};
    when.it_value.tv_sec = ns / 1'000'000'000;
    when.it_value.tv_nsec = ns % 1'000'000'000;
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

/// To sleep: ends with the bell armed, so that a message that comes later rings, or with a
/// descriptor that is readable for what came before.
std::size_t dispatcher::poll(polling how)
{
    // Relaxed: of two callers at once, one may not be counted.
    const auto before = polls_.load(std::memory_order_relaxed);
    polls_.store(before + 1, std::memory_order_relaxed);
    const bool is_busy = how == polling::busy;
    if (is_busy && before % polls_between_looks != 0 && !actions_.has_messages())
        return 0;
    const std::lock_guard guard{turn_};  // before that of who serves, as everywhere
    try {
        return is_busy ? poll_busily() : poll_to_sleep();
    } catch (...) {  // of a handler's callback, or of a reap
        log(log_level::error, "dispatcher: {}", describe_thrown());
        actions_.post().wake_reader();  // the bell may not be armed, nor the timer set
        return 1;
    }
}

std::size_t dispatcher::poll_busily()
{
    auto done = actions_.serve();  // first: who asks waits
    const auto now = steady_clock::now();
    if (now < next_hearing_)
        return done;
    next_hearing_ = now + listen_every;
    done += hear(0);
    look_around_when_due();
    return done;
}

std::size_t dispatcher::poll_to_sleep()
{
    auto done = hear(0);
    look_around_when_due();
    done += actions_.serve();
    own_bell().arm();
    if (!actions_.post().is_empty())
        actions_.post().wake_reader();
    set_timer();
    return done;
}

std::size_t dispatcher::hear(int wait_ms)
{
    std::array<epoll_event, 32> events;
    const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), wait_ms);
    own_bell().disarm();
    std::exception_ptr first;  // what fails again and again holds up nothing behind it
    for (int i = 0; i < count; ++i) {
        const auto word = events[static_cast<std::size_t>(i)].data.u64;
        try {
            handle(static_cast<source>(word >> 32), word & 0xffff'ffff);
        } catch (...) {
            first = first ? first : std::current_exception();
        }
    }
    if (first)
        std::rethrow_exception(first);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
}

void dispatcher::handle(source kind, std::uint64_t detail)
{
    const int fd = static_cast<int>(detail);
    std::uint64_t rings = 0;
    switch (kind) {
    case source::wake: static_cast<void>(!::read(own_wake_, &rings, sizeof rings)); break;
    case source::timer: static_cast<void>(!::read(timer_.get(), &rings, sizeof rings)); break;
    case source::stop: break;
    case source::listener: accept_from(fd); break;
    case source::connection: read_from(fd); break;
    case source::member: {
        std::vector<member_ref> ended;
        peers_.for_each([&](const peers::descriptors& known) {
            if (known.member.id == detail)
                ended.push_back(known.member);
        });
        for (const auto dead : ended)
            if (peers_.has_ended(dead))
                bury(dead);
        break;
    }
    }
}

void dispatcher::accept_from(int listener)
{
    file_descriptor connection{::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!connection)
        return;
    if (!is_trusted(connection.get(), lock_.group())) {
        const auto peer = peer_of(connection.get());
        hang_ups_.fetch_add(1, std::memory_order_relaxed);  // a count
        log(log_level::warning, "refused a connection of uid {} (pid {})", peer.uid, peer.pid);
        return;
    }
    const int fd = connection.get();
    watch(fd, source::connection, static_cast<std::uint64_t>(fd));
    connections_.emplace(fd, std::move(connection));
    if (listener == telemetry_listener_ && !service_->on_telemetry(*this, fd))
        close(fd);
}

void dispatcher::read_from(int connection)
{
    if (!connections_.contains(connection))
        return;
    alignas(8) std::array<std::byte, wire::max_bytes> buffer;
    auto received = receive_message(connection, buffer);
    if (received.status == received_message::status::nothing_yet)
        return;
    bool keep = false;
    try {
        keep = received.status == received_message::status::message &&
               service_->on_message(*this, connection, std::span{buffer}.first(received.bytes),
                                    std::move(received.fds));
    } catch (...) {  // descriptors that are not what they should be
        log(log_level::warning, "dispatcher hangs up on pid {}: {}", peer_of(connection).pid,
            describe_thrown());
    }
    if (keep)
        return;
    if (received.status != received_message::status::closed)
        hang_ups_.fetch_add(1, std::memory_order_relaxed);  // a count
    close(connection);
}

void dispatcher::close(int connection)
{
    service_->on_closed(*this, connection);
    connections_.erase(connection);
}

}  // namespace cohort::ipc
