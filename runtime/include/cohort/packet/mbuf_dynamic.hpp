#pragma once
/// Dynamic fields and flags: room in every mbuf of the domain that is given out by name at run
/// time. Semantics of rte_mbuf_dyn.
///
/// Registering is for set-up, by any member; who registers a name again, with the same parameters,
/// gets the same place. What is registered stays until the domain ends. There are 16 bytes
/// (`mbuf::dynfield`) and 18 flags (bits 23 to 40 of `ol_flags`).
///
/// *Thread safety*: registering under the domain's recovery lock; finding is lock-free.
/// *When a process dies here*: an entry counts from its one store of `state`. Before it, nothing
/// has happened; what is taken follows from the entries that count.

#include "cohort/base/fixed_name.hpp"
#include "cohort/base/shared_type.hpp"
#include "cohort/packet/mbuf.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>

namespace cohort {

/// Of a field. `flags` is 0: none are defined.
struct dynfield_params {
    std::string_view name;  ///< 1 to 63 characters
    std::size_t size = 0;   ///< bytes
    std::size_t align = 1;  ///< a power of two
    std::uint32_t flags = 0;
};
struct dynflag_params {
    std::string_view name;  ///< 1 to 63 characters
    std::uint32_t flags = 0;
};

enum class dynamic_kind : std::uint32_t { field = 1, flag = 2 };

struct mbuf_dynamic_entry {
    std::atomic<std::uint32_t> state{0};  ///< 1 = counts; DYNAMIC: released after the rest
    dynamic_kind kind{};
    std::uint32_t place = 0;  ///< offset in the mbuf, or number of the bit
    std::uint32_t size = 0;
    std::uint32_t align = 0;
    std::uint32_t flags = 0;
    fixed_name<64> name;

    [[nodiscard]] bool counts() const noexcept
    {
        return state.load(std::memory_order_acquire) == 1;  // DYNAMIC
    }
};
static_assert(shared_layout<mbuf_dynamic_entry> && sizeof(mbuf_dynamic_entry) == 88);

inline constexpr std::size_t dynfield_begin = offsetof(mbuf, dynfield);
inline constexpr std::size_t dynfield_end = sizeof(mbuf);

struct mbuf_dynamic_layout {
    mbuf_dynamic_entry entries[34];  ///< one for each byte and each flag: never full before those
};
static_assert(shared_layout<mbuf_dynamic_layout>);

/// A field of type T: `timestamps(packet) = now;`. Copied freely; the same in all members.
template <typename T>
requires std::is_trivially_copyable_v<T>
class dynfield {
public:
    explicit constexpr dynfield(std::size_t offset) noexcept : offset_{offset} {}
    [[nodiscard]] T& operator()(mbuf& packet) const noexcept
    {
        return *reinterpret_cast<T*>(reinterpret_cast<std::byte*>(&packet) + offset_);
    }
    [[nodiscard]] const T& operator()(const mbuf& packet) const noexcept
    {
        return *reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(&packet) + offset_);
    }
    [[nodiscard]] constexpr std::size_t offset() const noexcept { return offset_; }

private:
    std::size_t offset_;
};

/// Finding and registering; `domain` does the locking.
class mbuf_dynamics {
public:
    explicit mbuf_dynamics(mbuf_dynamic_layout& layout) noexcept : layout_{layout} {}

    /// The offset. Throws `name_too_long`; `invalid_argument` for a size, alignment or flag that
    /// cannot be; `exists` when the name has other parameters, or another offset is asked for;
    /// `in_use` when what is asked for is taken; `no_space`.
    std::size_t add(const dynfield_params& wanted, std::optional<std::size_t> offset);
    /// The number of the bit; throws likewise.
    unsigned add(const dynflag_params& wanted, std::optional<unsigned> bit);

    [[nodiscard]] const mbuf_dynamic_entry* find(dynamic_kind kind,
                                                 std::string_view name) const noexcept;

private:
    void publish(const mbuf_dynamic_entry& entry, std::string_view name);
    [[nodiscard]] bool is_free(std::size_t offset, std::size_t size) const noexcept;
    [[nodiscard]] bool is_free(unsigned bit) const noexcept;

    mbuf_dynamic_layout& layout_;
};

}  // namespace cohort
