#pragma once
/// The thread of a member that is not on the data path: it serves the inbox and the sockets, hears
/// of deaths from the kernel, and reaps.
///
/// It sleeps in epoll on: its eventfd (a message came), the pidfds of the other members (one died),
/// its sockets; and looks around ten times a second for what no descriptor tells: threads that died
/// in live members, members that nobody introduced, buffers that wait for room.
///
/// With `dispatching::by_caller` there is no such thread: who calls `poll` does its work, and a
/// descriptor tells when there is some. A member that is not polled answers nobody and reaps
/// nobody; the others do that for it.
///
/// *Thread safety*: `start` and `stop` by one thread; `poll`, `on_event` and `lost_events` by any;
/// the rest by the dispatcher's thread, or by the one that polls.
/// *When a process dies here*: each member has a dispatcher; any of them reaps.

#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/actions.hpp"
#include "cohort/ipc/event_teller.hpp"
#include "cohort/ipc/member_service.hpp"
#include "cohort/recovery/reaper.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace cohort::ipc {

/// Who serves a member's inbox and sockets.
enum class dispatching {
    own_thread,
    by_caller,  ///< of `joined_domain::poll`
};

/// How a caller of `poll` goes on.
enum class polling {
    until_readable,  ///< sleeps on the descriptor, or polls again after a while
    busy,            ///< polls again at once: senders need not wake it, which spares a system call
};

class dispatcher {
public:
    dispatcher(domain& shared, actions& channel, peers& others, const lock_description& lock,
               int own_wake);
    ~dispatcher();
    dispatcher(const dispatcher&) = delete;
    dispatcher& operator=(const dispatcher&) = delete;

    /// Serves these listening sockets and connections until `stop`.
    void start(std::unique_ptr<member_service> service, std::vector<file_descriptor> listeners,
               std::vector<file_descriptor> connections, dispatching how);
    void stop() noexcept;
    /// One more, in the place of another that is closed; by the dispatcher's thread. Returns it.
    int listen_in_place_of(int other, file_descriptor listener);

    /// How often its thread has gone round: at least ten times a second while it is sound.
    [[nodiscard]] std::uint64_t rounds() const noexcept
    {
        return rounds_.load(std::memory_order_relaxed);  // nothing else is read through it
    }

    /// Does what there is to do, without waiting; how much that was. Only `by_caller`.
    std::size_t poll(polling how);
    /// Readable when there is something to do.
    [[nodiscard]] int poll_fd() const noexcept { return epoll_.get(); }

    /// What happens in the domain, from now on.
    void on_event(event_handler hears);
    [[nodiscard]] std::uint64_t lost_events() const { return events_.lost(); }

    /// Takes note of a member: its death will be heard from now on.
    void learn(member_ref member, file_descriptor pidfd, file_descriptor wake);
    [[nodiscard]] peers& known() noexcept { return peers_; }
    [[nodiscard]] actions& channel() noexcept { return actions_; }
    /// Connections that were ended because of what came over them, or of who made them.
    [[nodiscard]] std::uint64_t hang_ups() const noexcept
    {
        return hang_ups_.load(std::memory_order_relaxed);  // a count
    }
    /// What connects there speaks DPDK's telemetry.
    void set_telemetry_listener(int listener) noexcept { telemetry_listener_ = listener; }
    [[nodiscard]] int telemetry_listener() const noexcept { return telemetry_listener_; }
    /// The connection over which the primary tells news; its end means that the primary is lost.
    void set_primary_link(int connection) noexcept { primary_link_ = connection; }
    [[nodiscard]] int primary_link() const noexcept { return primary_link_; }

private:
    enum class source : std::uint64_t { wake, stop, timer, listener, connection, member };
    void watch(int fd, source kind, std::uint64_t detail);
    [[nodiscard]] doorbell_layout& own_bell() noexcept;
    [[nodiscard]] bool has_thread() const noexcept { return !timer_; }
    void run() noexcept;
    std::size_t poll_busily();
    std::size_t poll_to_sleep();
    void look_around_when_due();
    void set_timer();
    /// Waits so long for what the descriptors tell, and handles that. How much it was.
    std::size_t hear(int wait_ms);
    void handle(source kind, std::uint64_t detail);
    void accept_from(int listener);
    void read_from(int connection);
    void close(int connection);
    void look_around();
    void bury(member_ref dead);
    [[nodiscard]] std::string reason_of(member_ref dead) const;
    [[nodiscard]] bool is_dead_without_pidfd(member_id id, member_word word);

    domain& domain_;
    actions& actions_;
    peers& peers_;
    const lock_description& lock_;
    int own_wake_;
    reaper reaper_;
    event_teller events_;
    file_descriptor epoll_;
    file_descriptor stop_;
    std::unique_ptr<member_service> service_;
    std::vector<file_descriptor> listeners_;
    std::map<int, file_descriptor> connections_;
    int primary_link_ = -1;
    int telemetry_listener_ = -1;
    deadline next_look_;
    std::recursive_mutex turn_;  ///< by_caller: one thread polls; a handler may poll on
    file_descriptor timer_;      ///< by_caller
    deadline timer_set_for_;
    std::atomic<unsigned> polls_{0};
    deadline next_hearing_;
    std::atomic<std::uint64_t> hang_ups_{0};
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> rounds_{0};
    std::thread thread_;
};

}  // namespace cohort::ipc
