#pragma once
/// A name that lives inside a shared layout: fixed size, always terminated, no pointer.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <string_view>

namespace cohort {

/// Holds up to `Bytes - 1` characters. Unused bytes are zero, so equal names are equal bytes.
template <std::size_t Bytes>
class fixed_name {
public:
    static constexpr std::size_t max_length = Bytes - 1;

    constexpr fixed_name() = default;

    /// Keeps the first `max_length` characters; check `fits` first where cutting is an error.
    constexpr explicit fixed_name(std::string_view text) noexcept
    {
        std::copy_n(text.begin(), std::min(text.size(), max_length), bytes_.begin());
    }

    [[nodiscard]] static constexpr bool fits(std::string_view text) noexcept
    {
        return !text.empty() && text.size() <= max_length;
    }

    /// Never reads past the array, whatever another process wrote into it.
    [[nodiscard]] constexpr std::string_view view() const noexcept
    {
        const std::string_view all{bytes_.data(), max_length};
        return all.substr(0, all.find('\0'));
    }
    [[nodiscard]] constexpr bool empty() const noexcept { return bytes_[0] == '\0'; }

    [[nodiscard]] constexpr bool operator==(std::string_view text) const noexcept
    {
        return view() == text;
    }

    /// A copy for who looks while another process may call `replace`: a mixture of both names then.
    /// A state word that is the same before and after shows that nobody did, for these loads
    /// acquire what the stores of `replace` release.
    [[nodiscard]] fixed_name peek() const noexcept
    {
        fixed_name seen;
        for (std::size_t i = 0; i != Bytes; ++i)
            seen.bytes_[i] =
                std::atomic_ref{const_cast<char&>(bytes_[i])}.load(std::memory_order_acquire);
        return seen;
    }
    void replace(const fixed_name& by) noexcept
    {
        for (std::size_t i = 0; i != Bytes; ++i)
            std::atomic_ref{bytes_[i]}.store(by.bytes_[i], std::memory_order_release);
    }

private:
    std::array<char, Bytes> bytes_{};
};

}  // namespace cohort
