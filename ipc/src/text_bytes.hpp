#pragma once
/// Texts as what messages carry.

#include <cstddef>
#include <span>
#include <string_view>

namespace cohort::ipc {

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) noexcept
{
    return std::as_bytes(std::span{text});
}

}  // namespace cohort::ipc
