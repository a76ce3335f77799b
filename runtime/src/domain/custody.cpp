#include "cohort/base/fault_point.hpp"
#include "cohort/domain/domain.hpp"

namespace cohort {

bool domain::give(mbuf& packet, member_ref to) noexcept
{
    const auto& table = membership_.members();
    if (to.id == 0 || to.id >= max_members || !table.is_live(to))
        return false;
    COHORT_FAULT_POINT("mbuf.giving");
    std::atomic_ref{packet.custody}.store(custody::holder(to.id, to.generation),
                                          std::memory_order_seq_cst);  // GIVEN
    COHORT_FAULT_POINT("mbuf.given");
    // If it has begun to die since, its reaper may have looked before the packet was there. (If it
    // begins after this look, its reaper looks after that.) Then the next look around finds it; so
    // does the reaper of this member, should it be killed here.
    if (!table.is_live(to))
        region_.layout().recovery.some_wait.fetch_add(1, std::memory_order_acq_rel);
    return true;
}

whereabouts domain::find(const void* object)
{
    return cohort::find(audited(region_.layout()), reinterpret_cast<std::uint64_t>(object));
}

}  // namespace cohort
