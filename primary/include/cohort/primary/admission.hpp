#pragma once
/// The primary's answers on its socket: what every member answers, and the admission of newcomers.
///
/// *Thread safety*: called by the dispatcher's thread only.
/// A planned hand-over, seen from the primary that hands over:
///
///   serving -> asked      a successor got the region's descriptors; all goes on as before
///   asked -> letting go   the primary lock is free; newcomers are told to ask again
///   letting go -> gone    the successor serves; this member is no primary any more
///   letting go -> serving the successor hung up before it served: the lock is taken back
///
/// *When a process dies here*: a newcomer killed half-way leaves a slot in JOINING, found by its
/// free lock byte; a successor killed half-way leaves this primary serving; a primary killed
/// half-way leaves members that do not know each other's pidfd yet: they fall back to lock byte and
/// sentinels until the next primary introduces them.

#include "cohort/ipc/member_service.hpp"

#include <atomic>
#include <functional>
#include <map>

#include <sys/types.h>

namespace cohort::primary {

/// What a hand-over asks of the primary around its admission.
struct hand_over_calls {
    std::function<void()> let_go;     ///< frees the primary lock
    std::function<bool()> take_back;  ///< false when another process holds the lock
    std::function<void()> gone;       ///< a successor serves
};

class admission : public ipc::member_service {
public:
    admission(domain& shared, const ipc::queries& known, int own_wake, hand_over_calls calls)
        : member_service{shared, known, own_wake}
        , calls_{std::move(calls)}
    {
    }

    bool on_message(ipc::dispatcher& loop, int connection, std::span<const std::byte> bytes,
                    std::vector<file_descriptor> fds) override;
    void on_closed(ipc::dispatcher& loop, int connection) override;

    /// A connection to a member that was there before this primary.
    void add_member(int connection, member_ref member) { members_[connection] = member; }
    /// From now on newcomers are refused. Any thread.
    void close_door() noexcept { closed_.store(true, std::memory_order_relaxed); }  // no data rides

protected:
    /// Members that were there before answer their adopter with news of themselves; after a
    /// hand-over the successor tells.
    [[nodiscard]] bool brings_news(const ipc::dispatcher& loop, int connection) const override
    {
        return members_.contains(connection) || member_service::brings_news(loop, connection);
    }

private:
    struct applicant {
        file_descriptor pidfd;
        file_descriptor wake;
    };
    /// Sends a member's descriptors to all others; `except` is the connection they came over.
    void introduce(member_ref member, int pidfd, int wake, int except);
    bool welcome(ipc::dispatcher& loop, int connection, member_ref newcomer);
    /// Why a newcomer is not admitted now; false when it is.
    bool refuse_newcomer(int connection);
    bool on_successor(int connection, std::span<const std::byte> bytes);
    bool begin_hand_over(int connection);
    void end_hand_over(ipc::dispatcher& loop);

    std::map<int, applicant> applicants_;  ///< by connection, until they have joined
    std::map<int, member_ref> members_;    ///< by connection
    hand_over_calls calls_;
    int successor_ = -1;  ///< its connection
    pid_t successor_pid_ = 0;
    enum class stage { serving, asked, letting_go, gone } stage_ = stage::serving;
    std::atomic<bool> closed_{false};
};

}  // namespace cohort::primary
