#pragma once
// What a helper process of the action measurements does: it joins, answers, or asks and tells how
// long that took. The other end of it is action_bench.cpp.

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace cohort::bench {

inline constexpr int any_processor = 1'000;

struct action_part {
    std::string side;  ///< ours or dpdk
    std::string role;  ///< primary, secondary, poller: a primary that looks all the time; visitor
    std::string name;  ///< of the domain, or DPDK's --file-prefix
    std::string huge_directory;  ///< for DPDK
    int processor = 0;  ///< of the first thread; any_processor only for ours; not of a visitor

    [[nodiscard]] std::vector<std::string> words() const;
    [[nodiscard]] static action_part from(const std::vector<std::string>& words);
};

using action_payload = std::array<char, 8>;

/// A process that takes part in an action channel, of ours or of DPDK.
class channel_member {
public:
    channel_member() = default;
    virtual ~channel_member() = default;
    channel_member(const channel_member&) = delete;
    channel_member& operator=(const channel_member&) = delete;

    /// Answers each request with its payload.
    virtual void offer() = 0;
    /// Asks the primary and waits for the answer; throws when there is none.
    virtual void ask(const action_payload& payload) = 0;
    /// Asks all others at once; returns when so many have answered, or throws after the time.
    virtual void ask_all(std::size_t answers, std::chrono::milliseconds time) = 0;
};

/// Nothing when DPDK's headers were not there.
[[nodiscard]] std::unique_ptr<channel_member> dpdk_channel(const action_part& given);

/// Exit code of the helper process, which obeys lines:
///
/// a visitor attaches at each line, says the milliseconds it took, and leaves; the others:
///
///   answer           offers the action; says "done"
///   ask N PAUSE_US   asks so often; says the microseconds that half and 99 % of them took at most
///   ask-all N MS     waits for so many answers; says the microseconds until then
///   echo             sends back what comes by the ring "there", until the next line
///   watch            sends and receives by the rings; after the next line, says the longest time
///                    in microseconds between two arrivals
[[nodiscard]] int play_action(const action_part& given);

}  // namespace cohort::bench
