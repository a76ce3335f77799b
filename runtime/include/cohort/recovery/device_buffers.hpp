#pragma once
/// Buffers that the devices of ports have, and what becomes of them when a port goes.
///
/// A device that has the pool's memory (an AF_XDP socket) is given buffers, and they carry the word
/// custody::at_device of the port and the queue. No member's death touches them: the device may
/// write into them. They come back one by one as the queue's owner takes them from the device, and
/// all together when the port goes, once its driver has made the device let go.
///
/// *Thread safety*: under the recovery lock, as said at each call.
/// *When a process dies here*: what was taken back carries its word, and is released with the rest.

#include "cohort/memory/memory.hpp"
#include "cohort/packet/mbuf.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace cohort {

/// Takes what the devices have of the ports that `destroyer` is destroying, or died destroying:
/// from now on it has the custody word `holder`. Where a device could not be made to let go, the
/// buffers stay out of use, for ever. Before the port's entry becomes EMPTY. Idempotent.
std::vector<mbuf*> take_back_from_devices(const memory_layout& memory, member_id destroyer,
                                          std::uint64_t holder);

/// Which port's device may write into the memory of the pool: its name, or "" for one that is gone.
/// Nothing when none may.
[[nodiscard]] std::optional<std::string_view> find_device_user(const memory_layout& memory,
                                                               const memzone_layout& pool) noexcept;

}  // namespace cohort
