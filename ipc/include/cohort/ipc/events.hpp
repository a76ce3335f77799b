#pragma once
/// What happens in a domain, as whoever looks finds out: members that join, leave or die, a primary
/// that is lost or back, memory that grows or shrinks, objects that come and go, pools that grow.
///
/// Nobody sends events. They are the difference between two looks at the state words of the region,
/// so a death can lose none, and a listener costs the others nothing. Events of one source (a
/// member slot, a name's entry, a memseg list) come in order. Who looks too seldom misses what has
/// come and gone between two looks; the generations of slots and entries, the epoch of primaries
/// and the counts of a list say exactly how many such there were. What memory or a pool got or lost
/// in several steps between two looks is one event with the sum; the other steps count as lost. So
/// do, with a coming and a going each, a member that never became one, for it was refused or killed
/// on its way, and an object that was never finished.
///
/// *Thread safety*: one thread at a time.
/// *When a process dies here*: nothing of it is shared. A primary that was killed after it had
/// counted itself and before members could see it is one that came and went. A step of memory whose
/// maker was killed in it is told, and may be missing in the count.

#include "cohort/domain/region_layout.hpp"
#include "cohort/member/member_table.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::ipc {

enum class event_kind {
    member_joined,
    member_left,
    member_died,
    primary_lost,
    primary_back,
    memory_grown,
    memory_shrunk,
    object_created,
    object_destroyed,
    pool_grown,
};
[[nodiscard]] std::string_view to_text(event_kind what) noexcept;

struct domain_event {
    event_kind what{};
    member_ref member{};        ///< who joined, left, died, is primary, or made the object
    std::string name{};         ///< of that member, or of the object
    std::string reason{};       ///< of a death, where the process that looks can know it
    zone_kind object{};         ///< of objects
    std::size_t list = 0;       ///< of memory: the memseg list
    std::uint64_t bytes = 0;    ///< of memory and objects
    std::uint64_t objects = 0;  ///< of a pool that has grown: how many it has got
    /// Events of this source that came and went unseen before this one.
    std::uint64_t lost = 0;
};
using event_handler = std::function<void(const domain_event&)>;

class event_watch {
public:
    /// The first look: what is there now is no event.
    explicit event_watch(const region_layout& region);

    /// Calls `hears` with each event since the last look, and returns how many that was.
    std::size_t look(const event_handler& hears);
    /// How a process ended, from whoever can know; told with the event of its death.
    void note_reason(member_ref dead, std::string reason);
    /// Events that came and went unseen, of all sources.
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }

private:
    struct seen_member {
        member_ref member{};
        bool alive = false;
        std::string name{};
    };
    struct seen_object {
        std::uint32_t generation = 0;
        bool live = false;
        zone_kind kind{};
        std::string name{};
        std::uint64_t bytes = 0;
        member_id creator = 0;
        std::uint64_t objects = 0;  // of a pool
        std::size_t chunks = 0;
    };

    void take_baseline();
    void look_at_members(std::vector<domain_event>& found);
    void look_at_member(member_id id, std::vector<domain_event>& found);
    [[nodiscard]] domain_event end_of(const seen_member& gone);
    void look_at_primary(std::vector<domain_event>& found);
    static void note_size(seen_object& seen, const mempool_layout& pool);
    [[nodiscard]] bool is_alive(std::uint64_t primary) const;
    void look_at_memory(std::vector<domain_event>& found);
    void look_at_object(const memzone_layout& zone, std::vector<domain_event>& found);
    void look_at_pool(const memzone_layout& zone, std::vector<domain_event>& found);

    const region_layout& region_;
    std::array<seen_member, max_members> members_{};
    struct seen_list {
        std::uint64_t published = 0;
        std::uint64_t steps = 0;
        std::uint64_t debt = 0;  // changes told whose step was not counted yet
    };
    std::array<seen_list, max_memseg_lists> lists_{};
    std::map<const memzone_layout*, seen_object> objects_;
    std::map<std::uint64_t, std::string> reasons_;
    std::uint64_t primary_ = 0;  // its word, while it lives
    std::uint64_t last_primary_ = 0;
    std::string primary_name_;
    std::uint32_t epoch_ = 0;
    std::uint64_t lost_ = 0;
};

/// How the process behind a pidfd ended, if it is a child of this one: "signal 9", "exit code 3".
/// Its parent can still wait for it. Empty for others.
[[nodiscard]] std::string exit_reason(int pidfd);

}  // namespace cohort::ipc
