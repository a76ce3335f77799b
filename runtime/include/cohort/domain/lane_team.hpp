#pragma once
/// Pinned threads, one for each lcore of a list, on lanes of a domain: what rte_eal_remote_launch
/// and rte_eal_wait_lcore are for.
///
///     lane_team team{domain, parse_lcores("--lcores", "1,2@(5-7)")};
///     team.launch_all([&](std::stop_token stop) { return forward(stop); });
///     ...
///     const auto results = team.wait_all(deadline_in(5s));
///
/// The numbers of lcores are this process's own words for its threads. What is shared between
/// processes (caches, claims, lane variables) goes by lane, and lanes are handed out by the region:
/// two processes that both use lcores 0 to 3 never meet.
///
/// *Thread safety*: all calls from any thread.
/// *When a process dies here*: its lanes die with it and are scrubbed like any other.
/// *When not to use*: for threads of your own, which get a lane on first use or by
/// `domain::enter_lane`.

#include "cohort/base/clock.hpp"
#include "cohort/domain/domain.hpp"
#include "cohort/member/lcore_list.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

namespace cohort {

class lane_team {
public:
    /// Runs on the lcore's thread. Asked to stop when the team ends; it is waited for then.
    using work = std::function<int(std::stop_token)>;

    /// Starts the threads, which wait for work on their lanes, named "lcore-N". The domain outlives
    /// the team. Throws `invalid_argument` for a processor that this process may not use or an
    /// empty list, and `no_space` when the lanes do not suffice; then no thread is left.
    lane_team(domain& shared, std::vector<lcore> lcores);
    /// Asks all to stop and waits for each to return, as a std::jthread does.
    ~lane_team();
    lane_team(const lane_team&) = delete;
    lane_team& operator=(const lane_team&) = delete;

    /// Throws `not_found` for an lcore that is not of the team, and `in_use` while it works or its
    /// last result has not been waited for (as -EBUSY of rte_eal_remote_launch).
    void launch(unsigned lcore, work todo);
    /// On all of them, or on none when one is in use.
    void launch_all(const work& todo);

    /// What the work returned, and the lcore is free again; nothing at the deadline. 0 when nothing
    /// was launched. Rethrows what the work threw.
    [[nodiscard]] std::optional<int> wait(unsigned lcore, deadline until);
    /// The results by rising lcore; nothing at the deadline: then each is still to be waited for.
    [[nodiscard]] std::optional<std::vector<int>> wait_all(deadline until);

    enum class state { idle, working, finished };
    [[nodiscard]] state state_of(unsigned lcore) const;
    /// The lane that the lcore's thread is on.
    [[nodiscard]] lane_id lane_of(unsigned lcore) const;
    [[nodiscard]] const std::vector<lcore>& lcores() const noexcept { return lcores_; }

    /// The lcore whose thread this is; nothing on other threads.
    [[nodiscard]] static std::optional<unsigned> current() noexcept;

private:
    class worker;
    [[nodiscard]] worker& find(unsigned lcore) const;

    std::vector<lcore> lcores_;
    std::vector<std::unique_ptr<worker>> workers_;
};

}  // namespace cohort
