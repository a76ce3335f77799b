#pragma once
/// Attaching to a domain that a primary has made.
///
/// *Thread safety*: any thread; several domains per process.
/// *When a process dies here*: killed at any rung, it leaves the region as it was, or a slot in
/// JOINING that the next look-around of any member empties.

#include "cohort/ipc/joined_domain.hpp"

#include <memory>
#include <string_view>

namespace cohort::secondary {

/// A member that is not the primary.
class attachment : public ipc::joined_domain {
public:
    attachment(region_mapping region, ipc::member_claim claim, rendezvous place,
               file_descriptor wake, file_descriptor primary_connection, deadline until);
};

/// Attaches as a member. Throws `no_such_domain`, `timed_out`, `layout_mismatch`, `wrong_owner`,
/// `region_truncated`, `region_garbage`, `window_taken`, `no_space`, `primary_lost`.
[[nodiscard]] std::unique_ptr<attachment> attach(std::string_view domain_name = "default",
                                                 steady_clock::duration timeout = 5s,
                                                 std::string_view member_name = {});

/// A process that only looks: it maps the domain for reading, holds no slot and no lock, and can be
/// killed at any moment without a trace.
class observer {
public:
    explicit observer(region_mapping region) : region_{std::move(region)} {}
    [[nodiscard]] const region_layout& region() const noexcept { return region_.layout(); }

private:
    region_mapping region_;
};

/// Asks the primary for the region, or any other member when the primary is dead.
[[nodiscard]] observer observe(std::string_view domain_name = "default",
                               steady_clock::duration timeout = 5s);

/// True when a live primary serves that name. Looks at its lock and disturbs nobody.
[[nodiscard]] bool primary_alive(std::string_view domain_name = "default");

}  // namespace cohort::secondary
