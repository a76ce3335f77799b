#pragma once
/// For programs of which the first is to be the primary and the others attach, whichever comes
/// first:
///
///     auto joined = cohort::ipc::start_or_attach(
///         [](auto left) { return cohort::primary::start({.name = "edge", .patience = left}); },
///         [](auto left) { return cohort::secondary::attach("edge", left); }, 5s);
///
/// The two roles come as calls, because primary and secondary do not know each other.
///
/// *Thread safety*: any thread.
/// *When a process dies here*: as in the call it is in. A primary that dies while others attach to
/// it is followed by one of them, which adopts its members.
/// *When not to use*: where one process is meant to be the primary, as with cohortd. Whoever
/// started the domain serves it until it ends, whatever else that program does.

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/ipc/joined_domain.hpp"
#include "cohort/member/member_layout.hpp"

#include <algorithm>
#include <memory>
#include <thread>

namespace cohort::ipc {

inline constexpr steady_clock::duration pause_between_tries = 1ms;

struct started_or_attached {
    std::unique_ptr<joined_domain> domain;
    member_role role{};  ///< what this process became
};

/// Attaches when a primary lives, else starts; whoever loses the race to start attaches to the
/// winner. `start` and `attach` get the time that is left and return a unique_ptr to a
/// `joined_domain`; both must name one domain.
///
/// `no_such_domain` and `primary_lost` of `attach` mean that nobody is there and lead to `start`.
/// `domain_alive` of `start`, and `timed_out` when others take the domain away while it is adopted,
/// lead back to `attach` until `timeout` has passed; then they are thrown. Every other error is
/// thrown as it comes.
template <typename Start, typename Attach>
[[nodiscard]] started_or_attached start_or_attach(Start&& start, Attach&& attach,
                                                  steady_clock::duration timeout)
{
    const auto until = deadline_in(timeout);
    const auto left = [&] { return std::max(until - steady_clock::now(), pause_between_tries); };
    for (;;) {
        try {
            return {attach(left()), member_role::secondary};
        } catch (const error& refused) {
            const auto reason = refused.reason();
            if (reason != errc::no_such_domain && reason != errc::primary_lost)
                throw;
        }
        try {
            return {start(left()), member_role::primary};
        } catch (const error& refused) {
            const auto reason = refused.reason();
            const bool for_now = reason == errc::domain_alive || reason == errc::timed_out;
            if (!for_now || steady_clock::now() >= until)
                throw;
        }
        // The winner holds the lock but does not listen yet.
        std::this_thread::sleep_for(pause_between_tries);
    }
}

}  // namespace cohort::ipc
