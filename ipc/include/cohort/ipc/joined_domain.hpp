#pragma once
/// A domain that this process is a member of, with its action channel: the common part of
/// `primary::owner` and `secondary::attachment`.

#include "cohort/domain/domain.hpp"
#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/actions.hpp"
#include "cohort/ipc/dispatcher.hpp"
#include "cohort/ipc/peers.hpp"
#include "cohort/ipc/queries.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

namespace cohort::ipc {

/// A member slot claimed for this process, not yet LIVE.
struct member_claim {
    lock_description lock;  ///< holds the slot's byte
    member_ref self;
};

/// Claims the first free slot. Throws `errc::no_space` when all are taken.
[[nodiscard]] member_claim claim_member(region_layout& region, const rendezvous& place,
                                        std::string_view name, member_role role);

/// A member's byte of the lock file. A base before `domain`: it is released after ~domain has
/// settled what the member held, however its constructor or destructor ends. Else the member would
/// pass for dead while it settles.
class member_lock {
protected:
    explicit member_lock(lock_description lock) : lock_{std::move(lock)} {}
    [[nodiscard]] const lock_description& held() const noexcept { return lock_; }

private:
    lock_description lock_;
};

/// The message by which a primary asks members to leave.
inline constexpr std::string_view shut_down_action = "cohort.shut_down";

class joined_domain : private member_lock, public domain {
public:
    ~joined_domain() override;

    [[nodiscard]] ipc::actions& actions() noexcept { return actions_; }
    /// What came to this member and was not what it should be: messages that were dropped, and
    /// connections that were ended.
    [[nodiscard]] std::uint64_t bad_input()
    {
        return actions_.post().dropped() + dispatcher_.hang_ups();
    }
    /// A question about this program's own state, answered beside the built-in ones: see
    /// queries.hpp, which has the errors. `handler` returns JSON text.
    void register_query(std::string_view path, std::string_view help, ipc::queries::handler handler)
    {
        queries_.on(path, help, std::move(handler));
    }
    bool unregister_query(std::string_view path) { return queries_.off(path); }
    [[nodiscard]] const ipc::queries& queries() const noexcept { return queries_; }
    /// True while a live primary serves the domain.
    [[nodiscard]] bool primary_alive() const noexcept
    {
        return actions_.find_primary().has_value();
    }
    /// Rises while the dispatcher's thread is sound: for a watchdog. See dispatcher.hpp.
    [[nodiscard]] std::uint64_t dispatcher_rounds() const noexcept { return dispatcher_.rounds(); }
    [[nodiscard]] const rendezvous& place() const noexcept { return place_; }

    /// For `dispatching::by_caller`, in place of a thread: does what there is to do for the other
    /// members, without waiting, and returns how much that was. Handlers and callbacks run in here,
    /// and in calls that wait for answers. `poll_fd` is readable when there is something to do, at
    /// least ten times a second; only for `polling::until_readable`.
    std::size_t poll(polling how = polling::until_readable) { return dispatcher_.poll(how); }
    [[nodiscard]] int poll_fd() const noexcept { return dispatcher_.poll_fd(); }

    /// `hears` is called with what happens in the domain from now on, by a thread for that, or in
    /// `poll`: at once when a member dies, else within 100 ms. See events.hpp. A handler that takes
    /// long misses events, which are counted, and delays nobody else; but for
    /// `dispatching::by_caller` it delays that member's answers. Leaving the domain waits for it.
    void on_event(event_handler hears) { dispatcher_.on_event(std::move(hears)); }
    /// Events that this member's handlers missed, of all sources: `domain_event::lost` says it of
    /// the source of the next one.
    [[nodiscard]] std::uint64_t lost_events() const { return dispatcher_.lost_events(); }

    /// `hears` is called when pages have come or gone: by this member's doing in the thread that
    /// did it, by others' in the dispatcher's. News that finds a full inbox is lost: nothing may
    /// depend on it.
    void on_memory_event(memory_watch::listener hears);

    /// `hears` is called in the dispatcher when the primary asks all members to leave. It should
    /// make the program end; the domain must not be closed inside it. Throws `exists` the second
    /// time.
    void on_shut_down(std::function<void()> hears);

protected:
    joined_domain(region_mapping region, member_claim claim, rendezvous place,
                  file_descriptor wake);

    /// Makes the member LIVE; then the dispatcher serves.
    void go_live();
    void start(std::unique_ptr<member_service> service, std::vector<file_descriptor> listeners,
               std::vector<file_descriptor> connections, dispatching how);
    [[nodiscard]] dispatcher& loop() noexcept { return dispatcher_; }
    [[nodiscard]] int wake_fd() const noexcept { return wake_.get(); }

private:
    void tell_others(const memory_event& event);

    rendezvous place_;
    file_descriptor wake_;
    peers peers_;
    ipc::queries queries_;
    ipc::actions actions_;
    dispatcher dispatcher_;
    std::once_flag listening_;
};

}  // namespace cohort::ipc
