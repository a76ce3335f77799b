#pragma once
// cohort handover: the planned change of the primary.

#include <string>
#include <vector>

namespace cohort::tool {

/// Replaces this process by a cohortd that takes over from the live primary, which then ends. The
/// program is the one beside this, else the first in $PATH. Throws when there is none.
[[noreturn]] void become_successor(const std::string& domain,
                                   const std::vector<std::string>& options);

}  // namespace cohort::tool
