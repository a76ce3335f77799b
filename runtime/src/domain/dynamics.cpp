#include "cohort/domain/domain.hpp"
#include "entry_scopes.hpp"

namespace cohort {

std::size_t domain::register_dynfield(const dynfield_params& wanted,
                                      std::optional<std::size_t> offset)
{
    const recovery_lock_guard guard{region_.layout().recovery.lock, who(), membership_,
                                    wanted.name};
    return mbuf_dynamics{region_.layout().dynamics}.add(wanted, offset);
}

unsigned domain::register_dynflag(const dynflag_params& wanted, std::optional<unsigned> bit)
{
    const recovery_lock_guard guard{region_.layout().recovery.lock, who(), membership_,
                                    wanted.name};
    return mbuf_dynamics{region_.layout().dynamics}.add(wanted, bit);
}

std::optional<std::size_t> domain::find_dynfield(std::string_view field) const noexcept
{
    const auto* entry = mbuf_dynamics{region_.layout().dynamics}.find(dynamic_kind::field, field);
    return entry ? std::optional<std::size_t>{entry->place} : std::nullopt;
}

std::optional<unsigned> domain::find_dynflag(std::string_view flag) const noexcept
{
    const auto* entry = mbuf_dynamics{region_.layout().dynamics}.find(dynamic_kind::flag, flag);
    return entry ? std::optional<unsigned>{entry->place} : std::nullopt;
}

}  // namespace cohort
