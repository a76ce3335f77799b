#pragma once
/// Descriptors of /dev/net/tun that are the queues of one interface.

#include "cohort/base/file_descriptor.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace cohort::detail {

/// Makes the interface, or finds it, and attaches `queues` descriptors to it, which do not block.
/// With `offload` each frame has a virtio_net_hdr, and may lack its L4 checksum.
/// Throws `invalid_argument` for a name that cannot be or is that of something else, `in_use` when
/// somebody else is attached, `no_permission`, or what the kernel says.
[[nodiscard]] std::vector<file_descriptor> open_tap(const std::string& name, std::uint64_t queues,
                                                    bool offload);

/// The interface stays when nobody is attached to it.
void keep_tap(const file_descriptor& queue);

/// Frames go to the queue no more. Nothing happens when it was detached already.
void detach_tap(const file_descriptor& queue);

/// What the interface is called now; empty when it is gone.
[[nodiscard]] std::string tap_name(int queue) noexcept;

}  // namespace cohort::detail
