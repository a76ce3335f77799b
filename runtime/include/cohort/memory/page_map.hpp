#pragma once
/// Which pages of a memseg list exist: a bit for each page, in the region.
///
/// States of a page, and who may move it, always holding the memory lock:
///
///   hole -> made         who grows the list, by fallocate; nobody may touch the page yet
///   made -> published    the same, by setting its bit (GROWN); zones may cover the page
///   published -> made    who gives idle pages back, by clearing the bit; no zone covers it
///   made -> hole         the same, by punching; or who took the lock over from a dead holder
///
/// *Thread safety*: reading is free for all, observers too; writing needs the memory lock.

#include "cohort/memory/memory_layout.hpp"

namespace cohort {

/// Pages [from, to) of one list.
struct page_run {
    std::uint64_t from = 0;
    std::uint64_t to = 0;

    [[nodiscard]] std::uint64_t count() const noexcept { return to - from; }
};

/// Addresses [from, to).
struct byte_range {
    std::uint64_t from = 0;
    std::uint64_t to = 0;

    [[nodiscard]] std::uint64_t bytes() const noexcept { return to - from; }
};

class page_map {
public:
    /// Writing takes a list that is not const.
    explicit page_map(memseg_list_layout& list) noexcept : list_{list}, writable_{&list} {}
    explicit page_map(const memseg_list_layout& list) noexcept : list_{list} {}

    [[nodiscard]] static constexpr std::uint64_t words_for(std::uint64_t pages) noexcept
    {
        return (pages + 63) / 64;
    }
    [[nodiscard]] std::uint64_t pages() const noexcept
    {
        return list_.max_bytes / list_.page_bytes;
    }
    /// No page from this one on is published.
    [[nodiscard]] std::uint64_t top() const noexcept
    {
        return list_.top.load(std::memory_order_acquire) / list_.page_bytes;  // GROWN
    }
    [[nodiscard]] bool is_published(std::uint64_t page) const noexcept
    {
        return (word(page / 64) >> page % 64 & 1) != 0;
    }
    /// All pages that a range of this list touches.
    [[nodiscard]] page_run covering(byte_range range) const noexcept
    {
        return {(range.from - list_.base) / list_.page_bytes,
                align_up(range.to - list_.base, list_.page_bytes) / list_.page_bytes};
    }
    /// Only those that lie in it as a whole; none when `from` is not below `to`.
    [[nodiscard]] page_run within(byte_range range) const noexcept
    {
        return {align_up(range.from - list_.base, list_.page_bytes) / list_.page_bytes,
                (range.to - list_.base) / list_.page_bytes};
    }
    [[nodiscard]] byte_range addresses(page_run run) const noexcept
    {
        return {list_.base + run.from * list_.page_bytes, list_.base + run.to * list_.page_bytes};
    }

    /// Whether the page of an address of this list is published.
    [[nodiscard]] bool holds(std::uintptr_t address) const noexcept
    {
        return is_published((address - list_.base) >> std::countr_zero(list_.page_bytes));
    }

    void publish(page_run run) noexcept
    {
        raise_top(run.to);
        for_each_word(run, [](auto& word, std::uint64_t bits) {
            word.fetch_or(bits, std::memory_order_release);  // GROWN
        });
    }
    void withdraw(page_run run) noexcept
    {
        for_each_word(run, [](auto& word, std::uint64_t bits) {
            word.fetch_and(~bits, std::memory_order_release);  // GROWN
        });
    }

    /// Sets `top` to what the bits say.
    void lower_top() noexcept
    {
        auto from = top();
        while (from != 0 && !is_published(from - 1))
            from -= from % 64 == 0 && word(from / 64 - 1) == 0 ? 64 : 1;
        writable_->top.store(from * list_.page_bytes, std::memory_order_release);  // GROWN
    }

    /// The first published page from `page` on; `end` when there is none before it.
    [[nodiscard]] std::uint64_t next_published(std::uint64_t page, std::uint64_t end) const noexcept
    {
        return next(page, end, 0);
    }
    [[nodiscard]] std::uint64_t next_hole(std::uint64_t page, std::uint64_t end) const noexcept
    {
        return next(page, end, ~std::uint64_t{0});
    }

    /// Calls `visit(run)` for each run of published pages, of all or of those in `range`.
    template <typename Visit>
    void for_each_run(Visit&& visit) const
    {
        for_each_run({0, top()}, visit);
    }
    template <typename Visit>
    void for_each_run(page_run range, Visit&& visit) const
    {
        const auto end = std::min(range.to, top());
        for (auto from = next_published(range.from, end); from < end;) {
            const auto to = next_hole(from, end);
            visit(page_run{from, to});
            from = next_published(to, end);
        }
    }
    /// The same for runs of pages that are not published.
    template <typename Visit>
    void for_each_gap(page_run range, Visit&& visit) const
    {
        for (auto from = next_hole(range.from, range.to); from != range.to;) {
            const auto to = next_published(from, range.to);
            visit(page_run{from, to});
            from = next_hole(to, range.to);
        }
    }

private:
    [[nodiscard]] std::uint64_t word(std::uint64_t index) const noexcept
    {
        return list_.page_map[index].load(std::memory_order_acquire);  // GROWN
    }

    [[nodiscard]] std::uint64_t next(std::uint64_t page, std::uint64_t end,
                                     std::uint64_t invert) const noexcept
    {
        while (page < end) {
            const auto bits = (word(page / 64) ^ invert) >> page % 64;
            if (bits != 0)
                return std::min(end, page + static_cast<std::uint64_t>(std::countr_zero(bits)));
            page = (page / 64 + 1) * 64;
        }
        return end;
    }

    template <typename Change>
    void for_each_word(page_run run, Change&& change) noexcept
    {
        for (auto page = run.from; page < run.to;) {
            const auto last = std::min(run.to, (page / 64 + 1) * 64);
            const auto count = last - page;
            const auto bits = (count == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << count) - 1)
                              << page % 64;
            change(writable_->page_map[page / 64], bits);
            page = last;
        }
    }

    void raise_top(std::uint64_t page) noexcept
    {
        if (page > top())
            writable_->top.store(page * list_.page_bytes, std::memory_order_release);  // GROWN
    }

    const memseg_list_layout& list_;
    memseg_list_layout* writable_ = nullptr;
};

}  // namespace cohort
