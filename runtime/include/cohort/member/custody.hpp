#pragma once
/// Custody: the word in each buffer that says which member holds it.
///
///   63        62        61..48        47..32    31..0
///   RECEIVED  FOLLOWER  ring (index)  member    member generation
///
/// I1  A handle inside a ring, or on a stack, belongs to that ring, whatever its word says.
/// I2  Whoever dequeues writes the word (itself, RECEIVED, the ring) before the release that frees
///     the slots.
/// I3  A get changes nothing, for the buffer came out of the pool's ring under I2; put and free
///     leave the holder's word, without RECEIVED; they write it if it is another.
/// I4  Only the live holder, or the reaper of a dead member, changes a word.
/// I5  A segment behind the head of a chain is a FOLLOWER: its custody is its head's.
/// I6  A buffer with clones belongs to its holder as long as its count word has the handle bit. Who
///     lets the handle go writes LETTING_GO first, clears the bit then, and never writes the word
///     again. Then only clones keep it; the last of them, who is alone with it, writes its own
///     word, sets the bit, and so has it (packet/mbuf_clone.hpp).
///
/// So the buffers lost with a dead member are those that carry its word and are in no ring, and the
/// segments reachable from them. The cost is one plain store for each object handed over, into a
/// line that the receiver reads anyway.
///
/// Without a ring a buffer is handed over by one store of its word (packet/mbuf_custody.hpp): given
/// to a member, or kept for whoever takes it.
///
/// The reaper alone reads these words from outside, after the kernel has reported the death. So
/// they need program order on x86-64 and no fences.

#include "cohort/base/cache_line.hpp"
#include "cohort/member/member_layout.hpp"
#include "cohort/memory/memory_layout.hpp"

#include <atomic>
#include <cstdint>

namespace cohort {

namespace custody {

/// False only where it is measured what custody costs (meson option custody): what a dead member
/// held is lost then.
#ifdef COHORT_WITHOUT_CUSTODY
inline constexpr bool is_written = false;
#else
inline constexpr bool is_written = true;
#endif

inline constexpr std::uint64_t received = std::uint64_t{1} << 63;
inline constexpr std::uint64_t follower = std::uint64_t{1} << 62;
inline constexpr std::uint64_t holder_mask = (std::uint64_t{1} << 48) - 1;

/// In the place of a ring: a buffer whose handle is being let go, or has been.
inline constexpr std::uint64_t letting_go = std::uint64_t{0x3ffe} << 48;

/// Not a member: buffers that the device of a port has. See `at_device`.
inline constexpr member_id device = 0xfffc;
/// Nor this: buffers that belong to the domain until somebody takes them (packet/mbuf_custody.hpp).
inline constexpr member_id kept = 0xfffd;
/// Nor this: buffers of a dead stage that wait for room in their redelivery ring.
inline constexpr member_id waiting = 0xffff;
/// Nor this: buffers with external memory that wait for a member which knows how to free that.
inline constexpr member_id waiting_external = 0xfffe;

[[nodiscard]] constexpr std::uint64_t holder(member_id member, std::uint32_t generation) noexcept
{
    return std::uint64_t{member} << 32 | generation;
}
[[nodiscard]] constexpr std::uint64_t received_from(std::uint64_t holder,
                                                    std::uint16_t ring) noexcept
{
    return holder | std::uint64_t{ring} << 48 | received;
}
/// The word of a buffer that a device has: the port in the place of a ring, its queue in that of a
/// generation. No port: the device of a port that is gone may write into it still.
[[nodiscard]] constexpr std::uint64_t at_device(std::uint16_t port, std::uint32_t queue) noexcept
{
    return holder(device, queue) | std::uint64_t{port} << 48;
}
inline constexpr std::uint16_t no_port = 0x3fff;
[[nodiscard]] constexpr std::uint64_t holder_of(std::uint64_t word) noexcept
{
    return word & holder_mask;
}
[[nodiscard]] constexpr member_id member_of(std::uint64_t word) noexcept
{
    return static_cast<member_id>(word >> 32);
}
[[nodiscard]] constexpr std::uint16_t ring_of(std::uint64_t word) noexcept
{
    return static_cast<std::uint16_t>(word >> 48) & 0x3fff;
}
/// Whether a word names a member, of whatever generation, and not one of the above.
[[nodiscard]] constexpr bool names_member(std::uint64_t word) noexcept
{
    return member_of(word) != 0 && member_of(word) < max_members;
}
[[nodiscard]] constexpr bool is_received(std::uint64_t word) noexcept
{
    return (word & received) != 0;
}
[[nodiscard]] constexpr bool is_follower(std::uint64_t word) noexcept
{
    return (word & follower) != 0;
}
[[nodiscard]] constexpr bool is_at_device(std::uint64_t word) noexcept
{
    return member_of(word) == device && !is_follower(word);
}

static_assert(max_zones <= 0x3fff, "a ring index must fit into 14 bits");

/// The word of a buffer, `offset` bytes from its handle.
[[nodiscard]] inline std::atomic_ref<std::uint64_t> word_at(void* handle,
                                                            std::int32_t offset) noexcept
{
    return std::atomic_ref{
        *reinterpret_cast<std::uint64_t*>(static_cast<std::byte*>(handle) + offset)};
}
/// Writes it, by a plain store: for who holds the buffer, or is about to.
inline void write(void* handle, std::int32_t offset, std::uint64_t word) noexcept
{
    if constexpr (is_written)
        word_at(handle, offset).store(word, std::memory_order_relaxed);  // read after death
}

}  // namespace custody
}  // namespace cohort
