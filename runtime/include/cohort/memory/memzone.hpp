#pragma once
/// A named span, as its users hold it.

#include "cohort/memory/memory_layout.hpp"

#include <span>
#include <string_view>

namespace cohort {

/// Cheap to copy. It knows when its memzone has been released, by whomever, also when the name or
/// the entry has been used again since: then it is empty. That look and a use of the memory are two
/// steps: who releases a memzone makes sure that nobody still works in it.
///
/// *Thread safety*: as of a pointer.
class memzone {
public:
    memzone() = default;
    explicit memzone(const memzone_layout& entry) noexcept
        : entry_{&entry}
        , generation_{entry.word().generation}
    {
    }

    [[nodiscard]] explicit operator bool() const noexcept
    {
        if (!entry_)
            return false;
        const auto word = entry_->word();
        return word.state == zone_state::live && word.generation == generation_;
    }
    [[nodiscard]] bool empty() const noexcept { return !*this; }
    /// nullptr and 0 when it has been released.
    [[nodiscard]] std::byte* data() const noexcept
    {
        return *this ? static_cast<std::byte*>(entry_->data()) : nullptr;
    }
    [[nodiscard]] std::size_t size() const noexcept { return *this ? entry_->length : 0; }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data(), size()}; }
    [[nodiscard]] std::byte* begin() const noexcept { return data(); }
    [[nodiscard]] std::byte* end() const noexcept { return data() + size(); }
    operator std::span<std::byte>() const noexcept { return bytes(); }
    operator std::span<const std::byte>() const noexcept { return bytes(); }

    [[nodiscard]] std::string_view name() const noexcept
    {
        return entry_ ? entry_->name.view() : std::string_view{};
    }
    /// Index of its memseg list; page size and node stand there.
    [[nodiscard]] std::size_t list() const noexcept { return entry_ ? entry_->list : 0; }
    /// The node was only hinted at, and had no room.
    [[nodiscard]] bool is_off_node() const noexcept
    {
        return entry_ && (entry_->flags & zone_off_node) != 0;
    }
    [[nodiscard]] bool is_of(const memzone_layout& entry) const noexcept
    {
        return entry_ == &entry && entry.word().generation == generation_;
    }

private:
    const memzone_layout* entry_ = nullptr;
    std::uint32_t generation_ = 0;
};

}  // namespace cohort
