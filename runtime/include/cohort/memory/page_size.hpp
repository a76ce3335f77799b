#pragma once
/// Page sizes, and what the machine has of them.

#include "cohort/base/bits.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cohort {

enum class page_size : std::uint64_t {
    small = 4_KiB,
    huge_2m = 2_MiB,
    huge_1g = 1_GiB,
};

[[nodiscard]] constexpr std::uint64_t bytes(page_size size) noexcept
{
    return static_cast<std::uint64_t>(size);
}

/// "4 KiB", "2 MiB", "1 GiB".
[[nodiscard]] std::string_view to_text(page_size size) noexcept;

/// Which pages a primary asks for.
enum class huge_policy {
    automatic,  ///< 2 MiB pages when enough are free, else 4 KiB
    only_2m,    ///< refuse to start without them
    only_1g,
    none,
};

/// Accepts auto, 2M, 1G, none.
[[nodiscard]] std::optional<huge_policy> parse_huge_policy(std::string_view text) noexcept;

/// Bytes of free, unreserved hugepages of that size in the whole machine; for small pages the
/// kernel's MemAvailable. 0 when the machine does not know the size.
[[nodiscard]] std::uint64_t available_bytes(page_size size) noexcept;

/// Bytes of all hugepages of that size, free or not, and of those that may be added on demand.
[[nodiscard]] std::uint64_t pool_bytes(page_size size) noexcept;

/// 0, 1, 2 for 4 KiB, 2 MiB, 1 GiB.
[[nodiscard]] constexpr std::size_t page_size_index(std::uint64_t page_bytes) noexcept
{
    return page_bytes == 4_KiB ? 0 : page_bytes == 2_MiB ? 1 : 2;
}

/// Whether the machine makes transparent hugepages for shared memory that asks for them, or, if not
/// `asked`, for any.
[[nodiscard]] bool shared_thp_allowed(bool asked = true);

/// 1536 MiB, 2 GiB, 12 KiB: the largest unit that divides evenly.
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

}  // namespace cohort
