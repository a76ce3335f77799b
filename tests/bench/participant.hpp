#pragma once
// What a helper process of the benchmarks does: it starts, attaches, grows, and tells how long each
// took. The other end of it is process_bench.cpp.

#include <cstddef>
#include <string>
#include <vector>

namespace cohort::bench {

/// One role: which side, what to do, with how much memory, in whose domain.
struct part {
    std::string side;  ///< ours or dpdk
    std::string act;   ///< start, attach, grower, primary or secondary
    std::size_t megabytes = 0;
    std::string name;            ///< of the domain, or DPDK's --file-prefix
    std::string huge_directory;  ///< for DPDK

    [[nodiscard]] std::vector<std::string> words() const;
    [[nodiscard]] static part from(const std::vector<std::string>& words);
};

/// What a start, an attach or a growth came to, in milliseconds.
struct timing {
    double zeroing = 0;  ///< the kernel's bare zeroing of as many pages, just before
    double total = 0;    ///< until each page can be used, `touch` included
    double touch = 0;    ///< a byte of each page
    double little = 0;   ///< the same with next to no memory, less the zeroing of that
    double end = 0;      ///< of what was started or attached to

    [[nodiscard]] std::string line() const;
    [[nodiscard]] static timing from(const std::string& line);
};

constexpr auto refused = "refused";  ///< said in front of a growth's timing that came to nothing

/// Exit code of the helper process.
[[nodiscard]] int play(const part& given);

}  // namespace cohort::bench
