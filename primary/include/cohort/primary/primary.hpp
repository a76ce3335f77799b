#pragma once
/// The owner of a domain: makes the region, or adopts one whose primary died, and admits members.
///
/// *Thread safety*: `start` by any thread; several domains per process.
/// *When a process dies here*: killed while it makes the region, nobody has seen it, and the next
/// start removes the remains. Killed later, members carry on and a new primary adopts the domain.

#include "cohort/ipc/joined_domain.hpp"
#include "cohort/ipc/telemetry.hpp"
#include "cohort/memory/page_size.hpp"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::primary {

/// What to do about members that a dead primary left behind.
enum class takeover {
    automatic,  ///< adopt them, or start afresh when there are none
    adopt,      ///< adopt them; refuse when there are none
    fresh,      ///< refuse when there are any
    hand_over,  ///< ask a live primary to hand over; adopt when it is dead, refuse without members
};

/// At most so many bytes in pages of one size, on all nodes together.
struct page_limit {
    page_size size{};
    std::size_t bytes = 0;
};

struct start_options {
    std::string_view name = "default";
    std::string_view member_name = "primary";
    std::size_t memory = 64_MiB;  ///< made at the start on the caller's node; grows on demand
    std::vector<std::size_t> node_memory{};  ///< instead: made at the start on each node
    std::vector<std::size_t> node_limits{};  ///< bytes on each node at most; 0 = no limit
    std::vector<page_limit> page_limits{};
    huge_policy huge = huge_policy::automatic;
    std::string_view huge_dir{};         ///< hugepages from this hugetlbfs, or from one that is
                                         ///< found ("auto"); default: from memfds
    bool transparent_hugepages = false;  ///< for the 4 KiB pages, where the machine allows it
    std::size_t window_bytes = 0;        ///< default: 64 GiB, more when `memory` needs it
    std::optional<std::uintptr_t> window_base{};  ///< default: the first free slot
    std::uint32_t max_zones = usual_zones;        ///< names of all kinds together, 64 to 16383
    unsigned emulated_nodes = 0;                  ///< 1 to 8: as if the machine had that many nodes
    takeover existing = takeover::automatic;
    /// For members to answer an adopter, a primary to hand over, another start to finish.
    steady_clock::duration patience = 5s;
    /// Called in the dispatcher when another primary serves in place of this one.
    std::function<void()> handed_over{};
    ipc::dispatching dispatch = ipc::dispatching::own_thread;
    std::optional<unsigned> group{};  ///< who may take part besides this user; default: nobody
    bool dpdk_telemetry = false;  ///< serve DPDK's clients, where nobody does: ipc/telemetry.hpp
};

class admission;

class owner : public ipc::joined_domain {
public:
    owner(region_mapping region, ipc::member_claim claim, rendezvous place, file_descriptor wake,
          lock_description primary_lock, bool adopted, const start_options& options);
    /// Stops admitting and leaves. The last member of a domain takes the rendezvous away.
    ~owner() override;

    /// True when this primary took over a domain that was alive.
    [[nodiscard]] bool adopted() const noexcept { return adopted_; }

    /// True once another primary serves in place of this one, which is a member like others then.
    [[nodiscard]] bool handed_over() const noexcept
    {
        return handed_over_.load(std::memory_order_acquire);
    }

    /// Refuses newcomers, asks the members to leave (`on_shut_down` of each), and waits until all
    /// have. Returns the names of those that have not at the deadline; they carry on as after the
    /// death of a primary.
    [[nodiscard]] std::vector<std::string> shut_down(deadline until);

private:
    void let_go();
    bool take_back();
    void take_telemetry_back() noexcept;
    /// The telemetry socket for the dispatcher, which learns what it is.
    [[nodiscard]] file_descriptor telemetry_listener();
    void note_handed_over();
    [[nodiscard]] std::uint64_t own_word() const noexcept;

    lock_description primary_lock_;
    bool adopted_;
    int admits_at_ = -1;  ///< a listener of the dispatcher
    ipc::telemetry_socket telemetry_;
    std::function<void()> tell_handed_over_;
    std::atomic<bool> handed_over_{false};
    admission* admission_ = nullptr;  ///< the dispatcher has it
};

/// Starts the domain. Throws `domain_alive`, `wrong_owner`, `no_memory`, `no_hugepages`,
/// `window_taken`, `no_permission` and what `adopt` of members can meet.
[[nodiscard]] std::unique_ptr<owner> start(const start_options& options = {});

}  // namespace cohort::primary
