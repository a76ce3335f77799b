#pragma once
/// Address space: reserving a range, mapping inside it, and saying what stands in the way.
///
/// Every mapping made here is left out of core dumps and not inherited by fork: a child that
/// touched shared state would run on its parent's lanes.

#include <cstddef>
#include <cstdint>
#include <string>

namespace cohort {

enum class map_access { read_only, read_write };

/// A PROT_NONE reservation; the whole range is given back at scope exit, with all mapped inside.
class address_range {
public:
    address_range() = default;
    /// Throws `errc::window_taken` naming the mapping in the way.
    address_range(std::uintptr_t base, std::size_t bytes);
    address_range(address_range&& other) noexcept;
    address_range& operator=(address_range&& other) noexcept;
    ~address_range();

    [[nodiscard]] std::uintptr_t base() const noexcept { return base_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] bool contains(const void* at, std::size_t length) const noexcept
    {
        const auto address = reinterpret_cast<std::uintptr_t>(at);
        return address >= base_ && length <= bytes_ && address - base_ <= bytes_ - length;
    }

    /// Maps `length` bytes of `fd` from its start at `at`, replacing reservation only.
    void map(std::uintptr_t at, int fd, std::size_t length, map_access access, const char* what);

    /// The first `length` bytes have got another owner, who unmaps them.
    void give_up_front(std::size_t length) noexcept
    {
        base_ += length;
        bytes_ -= length;
    }

private:
    std::uintptr_t base_ = 0;
    std::size_t bytes_ = 0;
};

/// True when the range is free in this process.
[[nodiscard]] bool range_is_free(std::uintptr_t base, std::size_t bytes) noexcept;

/// "7f12-7f34 rw-p /lib/x.so": the first mapping that meets the range, from /proc/self/maps.
[[nodiscard]] std::string mapping_in_the_way(std::uintptr_t base, std::size_t bytes);

/// The same for the first one there that is private: what is written to it, no other process sees.
/// Empty when there is none.
[[nodiscard]] std::string private_mapping_in(std::uintptr_t base, std::size_t bytes);

/// Leaves a mapping out of core dumps and of forked children.
void keep_private(std::uintptr_t base, std::size_t bytes) noexcept;

/// Refuses (throws) when this process locks its future mappings: mlockall(MCL_FUTURE) would fill
/// every hole of the sparse segment files.
void refuse_locked_future();

}  // namespace cohort
