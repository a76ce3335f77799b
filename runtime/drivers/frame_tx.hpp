#pragma once
// The tx side of a device that is called once for each frame and takes none back:
//
//   list;  note WRITING;  commit;  give;  wipe WRITING;  unlist, free
//
//   killed before the commit: the packet is the dead member's, and the device never sees it
//   killed between the commit and the wiping: nobody can know whether the device has it. It is not
//   sent again; it counts as sent, and as an error

#include "cohort/packet/mbuf.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_layout.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace cohort::detail {

/// A queue's own words, port_queue_layout::aux.
namespace frame_tx_word {
inline constexpr std::size_t writing = 0;  ///< WRITING, the position once the frame is out
inline constexpr std::size_t errors = 1;   ///< `errors` before that frame
}  // namespace frame_tx_word

/// False for a reason that passes.
[[nodiscard]] bool is_failure(int number) noexcept;
/// An interface that is gone refuses at every call: that is one error, not one for each look.
void note_refusal(port_queue_layout& queue, int number) noexcept;

class frame_tx {
public:
    frame_tx(port_queue_layout& queue, frame_limits limits)
        : queue_{queue}
        , limits_{limits}
        , gathered_(limits.cut)
    {
    }
    virtual ~frame_tx() = default;
    frame_tx(const frame_tx&) = delete;
    frame_tx& operator=(const frame_tx&) = delete;

    std::size_t burst(std::span<mbuf* const> packets) noexcept;

protected:
    /// 0, or why the device did not take it.
    [[nodiscard]] virtual int give(const mbuf& packet) noexcept = 0;
    /// For the new owner of the queue, before its first burst.
    void settle() noexcept;
    /// The packet in one piece; valid until the next call.
    [[nodiscard]] std::span<const std::byte> gather(const mbuf& packet) noexcept;
    [[nodiscard]] port_queue_layout& queue() noexcept { return queue_; }

private:
    [[nodiscard]] bool send(mbuf& packet) noexcept;

    port_queue_layout& queue_;
    frame_limits limits_;
    std::vector<std::byte> gathered_;  // the owner's
};

}  // namespace cohort::detail
