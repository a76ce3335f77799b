#pragma once
/// Attaching to a domain that a primary has made.
///
/// *Thread safety*: any thread; several domains per process.
/// *When a process dies here*: killed at any rung, it leaves the region as it was, or a slot in
/// JOINING that the next look-around of any member empties.

#include "cohort/ipc/joined_domain.hpp"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cohort::secondary {

/// A member that is not the primary.
class attachment : public ipc::joined_domain {
public:
    attachment(region_mapping region, ipc::member_claim claim, rendezvous place,
               file_descriptor wake, file_descriptor primary_connection, deadline until,
               ipc::dispatching how);
};

/// Attaches as a member. Waits for a primary that starts, adopts or takes over, but not for one
/// that is yet to be started. Throws `no_such_domain`, `timed_out`, `layout_mismatch`,
/// `wrong_owner`, `region_truncated`, `region_garbage`, `window_taken`, `no_space`, `primary_lost`.
[[nodiscard]] std::unique_ptr<attachment> attach(
    std::string_view domain_name = "default", steady_clock::duration timeout = 5s,
    std::string_view member_name = {}, ipc::dispatching how = ipc::dispatching::own_thread);

/// A process that only looks: it maps the domain for reading, holds no slot and no lock, and can be
/// killed at any moment without a trace.
class observer {
public:
    observer(region_mapping region, rendezvous place)
        : region_{std::move(region)}
        , place_{std::move(place)}
    {
    }
    [[nodiscard]] const region_layout& region() const noexcept { return region_.layout(); }
    [[nodiscard]] const region_mapping& mapping() const noexcept { return region_; }
    /// The live member of that name, or nothing.
    [[nodiscard]] std::optional<member_ref> find_member(std::string_view name) const noexcept;

    /// Asks a member over its socket, with at most 64 KiB; see `ipc::actions::request`.
    [[nodiscard]] ipc::answer request(member_ref to, std::string_view action,
                                      std::string_view text = {},
                                      steady_clock::duration timeout = 1s,
                                      std::span<const int> fds = {}) const;
    /// Asks the members one after the other, the primary first, until one answers in its share of
    /// the time: those that are stopped or just dying do not keep the answer away. JSON text; see
    /// ipc/queries.hpp for what can be asked. Throws `timed_out` when nobody answers.
    [[nodiscard]] std::string query(std::string_view asked,
                                    steady_clock::duration timeout = 5s) const;

private:
    region_mapping region_;
    rendezvous place_;
};

/// Asks the primary for the region, or any other member when the primary is dead.
[[nodiscard]] observer observe(std::string_view domain_name = "default",
                               steady_clock::duration timeout = 5s);

/// True when a live primary serves that name. Looks at its lock and disturbs nobody.
[[nodiscard]] bool primary_alive(std::string_view domain_name = "default");

}  // namespace cohort::secondary
