#pragma once
/// Deep copies, and chains made into one piece. Semantics of rte_pktmbuf_copy, _linearize, _read.
///
/// *Thread safety*: the packet is the caller's, or only read by all who have it.
/// *When a process dies here*: copies are chains under construction, each segment its holder's.

#include "cohort/packet/mbuf.hpp"

#include <limits>

namespace cohort {

inline constexpr std::size_t to_the_end = std::numeric_limits<std::size_t>::max();

/// A packet of `pool` with bytes [offset, offset + length) of this one, less if it is shorter, as a
/// chain where one buffer is too small; header and dynamic fields are copied. nullptr when `offset`
/// is behind the end, or the pool is empty.
[[nodiscard]] mbuf* copy(const mbuf& packet, mempool& pool, std::size_t offset = 0,
                         std::size_t length = to_the_end) noexcept;

/// Moves all data into the first segment and frees the others. False, and nothing done, when the
/// tailroom there is too small, or the first segment shows data that others show as well.
[[nodiscard]] bool linearize(mbuf& packet) noexcept;

/// `length` bytes at `offset`: in place when they lie in one segment, else gathered into `scratch`,
/// which must hold them. nullptr when the packet is shorter (rte_pktmbuf_read).
[[nodiscard]] const std::byte* read(const mbuf& packet, std::size_t offset, std::size_t length,
                                    std::span<std::byte> scratch) noexcept;

/// The same range as a typed value, wherever it lies.
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] bool read_value(const mbuf& packet, std::size_t offset, T& value) noexcept
{
    return read(packet, offset, std::as_writable_bytes(std::span{&value, 1}));
}

/// The segments of a packet as spans, in order:  for (auto piece : pieces(packet)) …
class piece_view {
public:
    class iterator {
    public:
        using value_type = std::span<std::byte>;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        explicit iterator(mbuf* at) noexcept : at_{at} {}
        [[nodiscard]] value_type operator*() const noexcept { return at_->bytes(); }
        iterator& operator++() noexcept
        {
            at_ = at_->next;
            return *this;
        }
        iterator operator++(int) noexcept
        {
            auto before = *this;
            ++*this;
            return before;
        }
        bool operator==(const iterator&) const noexcept = default;

    private:
        mbuf* at_ = nullptr;
    };
    explicit piece_view(mbuf& packet) noexcept : packet_{&packet} {}
    [[nodiscard]] iterator begin() const noexcept { return iterator{packet_}; }
    [[nodiscard]] iterator end() const noexcept { return iterator{}; }

private:
    mbuf* packet_;
};
[[nodiscard]] inline piece_view pieces(mbuf& packet) noexcept
{
    return piece_view{packet};
}

/// Bytes [offset, offset + length) of the first segment; empty when they are not all there.
[[nodiscard]] inline std::span<std::byte> view(mbuf& packet, std::size_t offset,
                                               std::size_t length) noexcept
{
    const auto bytes = packet.bytes();
    if (offset > bytes.size() || length > bytes.size() - offset)
        return {};
    return bytes.subspan(offset, length);
}
/// A T at `offset` of the first segment, or nullptr: `data` that checks. Wire formats have
/// alignment 1.
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] T* header(mbuf& packet, std::size_t offset = 0) noexcept
{
    const auto bytes = view(packet, offset, sizeof(T));
    return bytes.empty() ? nullptr : reinterpret_cast<T*>(bytes.data());
}

}  // namespace cohort
