// Lowers the TTL (IPv4) or hop limit (IPv6) of a packet by exactly one, even when the process that
// does it is killed at any instruction and another does the work again.
//
// Subtracting is not idempotent: who finds a packet in the hands of a dead process cannot see from
// the packet whether the subtraction took place. So the result is written down before it is carried
// out:
//
//   1  read the note word that travels with the buffer
//   2  it holds no note of this stage:  plan the change, then store the note   one 8-byte store
//   3  apply the note                                                          absolute values
//   4  hand the buffer to the next stage
//
// Killed before the store of step 2, the packet is untouched and planning anew gives the same
// answer. Killed later, the note says what the header must become, and writing that again does no
// harm, however much of it was written before. `lower_ttl_once` does steps 1 to 3.
//
// Three rules for the note word:
//   - It is an aligned std::uint64_t that lives as long as the buffer (a dynamic field of an mbuf).
//   - Whoever puts a *new packet* into the buffer sets it to 0 before giving the buffer away.
//   - A stage never clears its own note: killed between clearing and handing over, it would
//     subtract twice. The stage after it need not clear either, since a note counts only for the
//     stage whose id it holds. Where a packet may come back to the same stage, some stage in
//     between stores a note of its own or clears the word.
//
// Thread safety: a buffer and its note word belong to one lane at a time; custody provides that.
// When a process dies here: as told above; a survivor that runs the same stage finishes the change.
//
// One edge orders this, and only for the compiler:
//   NOTED  the note is stored before the header is written. One lane does both, and the memory of a
//          process that dies holds every store before the instruction it died at, so that program
//          order is enough; apply_ttl() begins with a signal fence to keep it.
#pragma once

#include "cohort/packet/checksum.hpp"
#include "cohort/packet/parse.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace cohort {

/// What a note changes in the packet: nothing, or one of the two kinds of header.
enum class ttl_change : std::uint8_t { none, ipv4, ipv6 };

/// The intended result of one stage for one packet. Packed, all but the flags begin on a byte:
///
///   bit  0       1 .. 2   8 .. 15   16 .. 31    32 .. 39   48 .. 63
///        valid   change   stage     l3_offset   ttl        checksum         all other bits are 0
///
/// The word 0 is "no note". A valid note that changes nothing says that the stage has seen the
/// packet: it is not IP, or its TTL was 0 already and stays so.
struct ttl_note {
    bool valid{false};
    ttl_change change{ttl_change::none};
    std::uint8_t stage{0};
    std::uint16_t l3_offset{0};
    std::uint8_t ttl{0};        // the new TTL or hop limit
    std::uint16_t checksum{0};  // the new IPv4 header checksum

    friend bool operator==(const ttl_note&, const ttl_note&) = default;

    [[nodiscard]] constexpr bool is_from(std::uint8_t stage_id) const noexcept
    {
        return valid && stage == stage_id;
    }

    [[nodiscard]] constexpr std::uint64_t pack() const noexcept
    {
        if (!valid)
            return 0;
        return std::uint64_t{1} | static_cast<std::uint64_t>(change) << 1 |
               std::uint64_t{stage} << 8 | std::uint64_t{l3_offset} << 16 |
               std::uint64_t{ttl} << 32 | std::uint64_t{checksum} << 48;
    }

    /// Any word is accepted; one without the valid bit is no note, whatever else it holds.
    [[nodiscard]] static constexpr ttl_note unpack(std::uint64_t word) noexcept
    {
        if ((word & 1) == 0)
            return {};
        return {.valid = true,
                .change = static_cast<ttl_change>(word >> 1 & 3),
                .stage = static_cast<std::uint8_t>(word >> 8),
                .l3_offset = static_cast<std::uint16_t>(word >> 16),
                .ttl = static_cast<std::uint8_t>(word >> 32),
                .checksum = static_cast<std::uint16_t>(word >> 48)};
    }
};

static_assert(std::is_trivially_copyable_v<ttl_note>);

namespace detail {

inline constexpr std::size_t ipv4_ttl_offset = 8;  // TTL and protocol share a checksummed word
inline constexpr std::size_t ipv4_checksum_offset = 10;
inline constexpr std::size_t ipv6_hop_limit_offset = 7;

/// The bytes from the IP header on, at least `needed` of them; else empty.
template <typename Byte>
[[nodiscard]] std::span<Byte> header_at(std::span<Byte> bytes, std::size_t offset,
                                        std::size_t needed) noexcept
{
    if (offset > bytes.size() || bytes.size() - offset < needed)
        return {};
    return bytes.subspan(offset);
}

inline void plan_ipv4(ttl_note& note, std::span<const std::byte> header) noexcept
{
    if (header.empty() || header[ipv4_ttl_offset] == std::byte{0})
        return;
    const auto was = load_be16(header, ipv4_ttl_offset);
    const auto now = static_cast<std::uint16_t>(was - 0x100);
    note.change = ttl_change::ipv4;
    note.ttl = static_cast<std::uint8_t>(now >> 8);
    note.checksum = update_checksum(load_be16(header, ipv4_checksum_offset), was, now);
}

inline void plan_ipv6(ttl_note& note, std::span<const std::byte> header) noexcept
{
    if (header.empty() || header[ipv6_hop_limit_offset] == std::byte{0})
        return;
    note.change = ttl_change::ipv6;
    note.ttl =
        static_cast<std::uint8_t>(std::to_integer<unsigned>(header[ipv6_hop_limit_offset]) - 1);
}

}  // namespace detail

/// What `stage` has to write into the packet to lower its TTL by one. Reads the packet only; always
/// valid. A TTL of 0 stays 0. The checksum is updated, not computed anew: a packet that was damaged
/// stays damaged by the same amount, and whoever verifies it next will notice.
[[nodiscard]] inline ttl_note plan_ttl_decrement(const parsed_packet& packet,
                                                 std::span<const std::byte> bytes,
                                                 std::uint8_t stage) noexcept
{
    ttl_note note{.valid = true, .stage = stage, .l3_offset = packet.l2_length};
    if (packet.l3 == l3_kind::ipv4)
        detail::plan_ipv4(note, detail::header_at(bytes, packet.l3_offset(), 20));
    else if (packet.l3 == l3_kind::ipv6)
        detail::plan_ipv6(note, detail::header_at(bytes, packet.l3_offset(), 40));
    return note;
}

/// Writes what the note says. Doing it again, or over a half-finished earlier attempt, ends in the
/// same bytes. A note that does not fit the span writes nothing.
inline void apply_ttl(const ttl_note& note, std::span<std::byte> bytes) noexcept
{
    std::atomic_signal_fence(std::memory_order_seq_cst);  // NOTED: the caller's store stays above
    if (!note.valid)
        return;
    if (note.change == ttl_change::ipv4) {
        if (const auto header = detail::header_at(bytes, note.l3_offset, 20); !header.empty()) {
            header[detail::ipv4_ttl_offset] = std::byte{note.ttl};
            detail::store_be16(header, detail::ipv4_checksum_offset, note.checksum);
        }
    } else if (note.change == ttl_change::ipv6) {
        if (const auto header = detail::header_at(bytes, note.l3_offset, 40); !header.empty())
            header[detail::ipv6_hop_limit_offset] = std::byte{note.ttl};
    }
}

/// The whole protocol for a buffer this lane holds: finishes the change noted by an earlier attempt
/// of the same stage, or plans, notes and applies a new one. Returns the note that was applied.
/// REQUIRES: `note_word` is 8-byte aligned and was 0 when the packet entered the buffer.
inline ttl_note lower_ttl_once(std::uint64_t& note_word, const parsed_packet& packet,
                               std::span<std::byte> bytes, std::uint8_t stage) noexcept
{
    // Atomic for the sake of one thing: the note appears whole or not at all.
    const std::atomic_ref<std::uint64_t> stored{note_word};
    auto note = ttl_note::unpack(stored.load(std::memory_order_relaxed));  // ours by custody
    if (!note.is_from(stage)) {
        note = plan_ttl_decrement(packet, bytes, stage);
        stored.store(note.pack(), std::memory_order_relaxed);  // NOTED, with the fence in apply_ttl
    }
    apply_ttl(note, bytes);
    return note;
}

}  // namespace cohort
