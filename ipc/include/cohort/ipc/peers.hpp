#pragma once
/// What this process holds of the other members: a pidfd, which tells of their death, and an
/// eventfd, which wakes them.
///
/// *Thread safety*: all calls from any thread.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/member/member_table.hpp"

#include <array>
#include <mutex>
#include <optional>

namespace cohort::ipc {

class peers {
public:
    struct descriptors {
        member_ref member;
        file_descriptor pidfd;
        file_descriptor wake;
    };

    /// Replaces what was known of that slot.
    void set(member_ref member, file_descriptor pidfd, file_descriptor wake);
    /// Forgets the member if the slot still is that one.
    void forget(member_ref member);

    /// Rings the member's eventfd; false when none is known.
    bool wake(member_ref member) const noexcept;
    [[nodiscard]] bool knows(member_ref member) const noexcept;
    /// True when the pidfd says that the process has ended.
    [[nodiscard]] bool has_ended(member_ref member) const noexcept;

    /// Calls `visit(const descriptors&)` for each known member, under the lock.
    template <typename Visit>
    void for_each(Visit&& visit) const
    {
        const std::lock_guard guard{mutex_};
        for (const auto& known : slots_)
            if (known.pidfd)
                visit(known);
    }

private:
    mutable std::mutex mutex_;
    std::array<descriptors, max_members> slots_;
};

/// A pidfd of the calling process, and an eventfd for its dispatcher.
[[nodiscard]] file_descriptor own_pidfd();
[[nodiscard]] file_descriptor new_eventfd();
[[nodiscard]] file_descriptor duplicate(int fd);

}  // namespace cohort::ipc
