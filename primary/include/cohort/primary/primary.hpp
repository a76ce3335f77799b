#pragma once
/// The owner of a domain: makes the region, or adopts one whose primary died, and admits members.
///
/// *Thread safety*: `start` by any thread; several domains per process.
/// *When a process dies here*: killed while it makes the region, nobody has seen it, and the next
/// start removes the remains. Killed later, members carry on and a new primary adopts the domain.

#include "cohort/ipc/joined_domain.hpp"
#include "cohort/memory/page_size.hpp"

#include <memory>
#include <optional>
#include <string_view>

namespace cohort::primary {

/// What to do about members that a dead primary left behind.
enum class takeover {
    automatic,  ///< adopt them, or start afresh when there are none
    adopt,      ///< adopt them; refuse when there are none
    fresh,      ///< refuse when there are any
};

struct start_options {
    std::string_view name = "default";
    std::string_view member_name = "primary";
    std::size_t memory = 64_MiB;  ///< segment memory made at the start; it grows on demand
    huge_policy huge = huge_policy::automatic;
    std::optional<std::uintptr_t>
        window_base{};  ///< default: the first free slot of the window area
    takeover existing = takeover::automatic;
    steady_clock::duration patience = 5s;  ///< for members to answer an adopter
};

class owner : public ipc::joined_domain {
public:
    owner(region_mapping region, ipc::member_claim claim, rendezvous place, file_descriptor wake,
          lock_description primary_lock, bool adopted);
    /// Stops admitting and leaves. The last member of a domain takes the rendezvous away.
    ~owner() override;

    /// True when this primary took over a domain that was alive.
    [[nodiscard]] bool adopted() const noexcept { return adopted_; }

private:
    lock_description primary_lock_;
    bool adopted_;
};

/// Starts the domain. Throws `domain_alive`, `wrong_owner`, `no_memory`, `no_hugepages`,
/// `window_taken`, `no_permission` and what `adopt` of members can meet.
[[nodiscard]] std::unique_ptr<owner> start(const start_options& options = {});

}  // namespace cohort::primary
