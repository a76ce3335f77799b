// The internet checksum (RFC 1071) over one span or many, and its incremental update (RFC 1624).
//
// Use it to verify or fill an IPv4 header, or a TCP, UDP or ICMP checksum whose bytes lie in
// several pieces (pseudo-header, then the segments of a chain). When one 16-bit word of a covered
// header changes, `update_checksum` is cheaper and, unlike a full recomputation, never hides damage
// that was there before: a wrong checksum stays wrong by the same amount.
//
// Thread safety: no shared state; every function depends on its arguments alone.
// When a process dies here: nothing is left behind; nothing here writes to memory it does not own.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cohort {

static_assert(std::endian::native == std::endian::little, "cohort is built for x86-64");

namespace detail {

/// Reads a 16-bit field in network order. REQUIRES: offset + 2 <= bytes.size().
[[nodiscard]] inline std::uint16_t load_be16(std::span<const std::byte> bytes,
                                             std::size_t offset) noexcept
{
    return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[offset]) << 8 |
                                      std::to_integer<unsigned>(bytes[offset + 1]));
}

/// Writes a 16-bit field in network order. REQUIRES: offset + 2 <= bytes.size().
inline void store_be16(std::span<std::byte> bytes, std::size_t offset, std::uint16_t value) noexcept
{
    bytes[offset] = static_cast<std::byte>(value >> 8);
    bytes[offset + 1] = static_cast<std::byte>(value & 0xff);
}

[[nodiscard]] constexpr std::uint16_t swap_bytes(std::uint16_t value) noexcept
{
    return static_cast<std::uint16_t>(value << 8 | value >> 8);
}

/// Brings a sum back to 16 bits, adding every carry at the low end.
[[nodiscard]] constexpr std::uint16_t fold(std::uint64_t sum) noexcept
{
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

/// Ones' complement sum of the big-endian words in `bytes`; an odd last byte is padded with zero.
[[nodiscard]] inline std::uint16_t ones_complement_sum(std::span<const std::byte> bytes) noexcept
{
    // Byte order does not matter while adding (RFC 1071, 2B): add native 32-bit words into 64 bits,
    // which cannot overflow below 16 GiB, and swap once at the end.
    std::uint64_t sum = 0;
    std::uint32_t word = 0;
    for (; bytes.size() >= sizeof word; bytes = bytes.subspan(sizeof word)) {
        std::memcpy(&word, bytes.data(), sizeof word);
        sum += word;
    }
    if (!bytes.empty()) {
        word = 0;
        std::memcpy(&word, bytes.data(), bytes.size());
        sum += word;
    }
    return swap_bytes(fold(sum));
}

}  // namespace detail

/// Gathers a checksum over pieces that follow one another, as if they were one span. A piece may
/// have any length: the bytes after an odd one simply change sides within their word.
class checksum_builder {
public:
    checksum_builder& add(std::span<const std::byte> bytes) noexcept
    {
        const auto sum = detail::ones_complement_sum(bytes);
        sum_ += odd_ ? detail::swap_bytes(sum) : sum;
        odd_ ^= (bytes.size() % 2 != 0);
        return *this;
    }

    /// Adds one 16-bit field given in host order, for the parts of a pseudo-header.
    /// REQUIRES: an even number of bytes was added so far.
    checksum_builder& add_word(std::uint16_t word) noexcept
    {
        sum_ += word;
        return *this;
    }

    /// The checksum in host order. Over data that already holds a correct checksum it is 0. UDP
    /// sends 0xffff where this says 0, because 0 on the wire means "no checksum" there.
    [[nodiscard]] std::uint16_t value() const noexcept
    {
        return static_cast<std::uint16_t>(~detail::fold(sum_));
    }

private:
    std::uint64_t sum_{0};
    bool odd_{false};
};

/// The internet checksum of one span, in host order; see checksum_builder::value.
[[nodiscard]] inline std::uint16_t internet_checksum(std::span<const std::byte> bytes) noexcept
{
    return checksum_builder{}.add(bytes).value();
}

/// The checksum after one covered word went from `was` to `now` (all in host order): RFC 1624,
/// equation 3, HC' = ~(~HC + ~m + m'). Exact for any header that is not all zero, so the result
/// equals a full recomputation whenever `checksum` was right.
[[nodiscard]] constexpr std::uint16_t update_checksum(std::uint16_t checksum, std::uint16_t was,
                                                      std::uint16_t now) noexcept
{
    const auto inverted = [](std::uint16_t word) { return static_cast<std::uint16_t>(~word); };
    return inverted(detail::fold(std::uint64_t{inverted(checksum)} + inverted(was) + now));
}

}  // namespace cohort
