#pragma once
/// The thread of a member that is not on the data path: it serves the inbox and the sockets, hears
/// of deaths from the kernel, and reaps.
///
/// It sleeps in epoll on: its eventfd (a message came), the pidfds of the other members (one died),
/// its sockets; and looks around ten times a second for what no descriptor tells: threads that died
/// in live members, members that nobody introduced, buffers that wait for room.
///
/// *Thread safety*: `start` and `stop` by one thread; the rest by the dispatcher's thread.
/// *When a process dies here*: each member has a dispatcher; any of them reaps.

#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/actions.hpp"
#include "cohort/ipc/member_service.hpp"
#include "cohort/recovery/reaper.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <vector>

namespace cohort::ipc {

class dispatcher {
public:
    dispatcher(domain& shared, actions& channel, peers& others, const lock_description& lock,
               int own_wake);
    ~dispatcher();
    dispatcher(const dispatcher&) = delete;
    dispatcher& operator=(const dispatcher&) = delete;

    /// Serves these listening sockets and connections until `stop`.
    void start(std::unique_ptr<member_service> service, std::vector<file_descriptor> listeners,
               std::vector<file_descriptor> connections);
    void stop() noexcept;
    /// One more, by the dispatcher's thread.
    void listen(file_descriptor listener);

    /// How often its thread has gone round: at least ten times a second while it is sound.
    [[nodiscard]] std::uint64_t rounds() const noexcept
    {
        return rounds_.load(std::memory_order_relaxed);  // nothing else is read through it
    }

    /// Takes note of a member: its death will be heard from now on.
    void learn(member_ref member, file_descriptor pidfd, file_descriptor wake);
    [[nodiscard]] peers& known() noexcept { return peers_; }
    /// The connection over which the primary tells news; its end means that the primary is lost.
    void set_primary_link(int connection) noexcept { primary_link_ = connection; }
    [[nodiscard]] int primary_link() const noexcept { return primary_link_; }

private:
    enum class source : std::uint64_t { wake, stop, listener, connection, member };
    void watch(int fd, source kind, std::uint64_t detail);
    void run() noexcept;
    void handle(source kind, std::uint64_t detail);
    void accept_from(int listener);
    void read_from(int connection);
    void close(int connection);
    void look_around();
    void bury(member_ref dead);
    [[nodiscard]] bool is_dead_without_pidfd(member_id id, member_word word);

    domain& domain_;
    actions& actions_;
    peers& peers_;
    const lock_description& lock_;
    int own_wake_;
    reaper reaper_;
    file_descriptor epoll_;
    file_descriptor stop_;
    std::unique_ptr<member_service> service_;
    std::vector<file_descriptor> listeners_;
    std::map<int, file_descriptor> connections_;
    int primary_link_ = -1;
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint64_t> rounds_{0};
    std::thread thread_;
};

}  // namespace cohort::ipc
