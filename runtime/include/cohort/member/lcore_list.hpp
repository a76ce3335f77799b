#pragma once
/// Lists of lcores and the processors they run on, as the EAL option --lcores writes them:
///
///   LIST  = ITEM[,ITEM...]
///   ITEM  = IDS[@CPUS]
///   IDS, CPUS = 3 | 3-5 | (0,2-4)
///
///   "1,3-5"      lcores 1, 3, 4, 5, each on the processor of its number
///   "(0-1)@2"    lcores 0 and 1, both on processor 2
///   "2@(5-7)"    lcore 2 on any of 5, 6, 7
///   "3-5@(0,2)"  lcores 3, 4, 5, each on any of 0 and 2
///   "(0,6)"      lcores 0 and 6, each on any of 0 and 6
///
/// A range may be written downwards, blanks may stand beside numbers, and of two items for one
/// lcore the later counts, all as in eal_common_options.c of DPDK 22.11.
///
/// *Thread safety*: pure functions.
/// *When a process dies here*: nothing of this is shared.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

inline constexpr unsigned max_lcores = 128;      ///< as RTE_MAX_LCORE: ids are 0 to 127
inline constexpr unsigned max_lcore_cpu = 1023;  ///< the highest processor that CPU_SET takes

struct lcore {
    unsigned id = 0;
    std::vector<int> cpus;  ///< rising, at least one

    bool operator==(const lcore&) const = default;
};

/// The lcores of `text`, by rising id. Throws `errc::invalid_argument` with a sentence that names
/// `option`, the text and the place where it is wrong.
[[nodiscard]] std::vector<lcore> parse_lcores(std::string_view option, std::string_view text);

/// The same lcores as a list that `parse_lcores` reads: "0@(0),1@(5,6)".
[[nodiscard]] std::string to_text(const std::vector<lcore>& lcores);

}  // namespace cohort
