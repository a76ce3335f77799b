#include "cohort/memory/memory.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "memory_guard.hpp"

#include <fmt/format.h>

#include <sys/stat.h>

namespace cohort {
namespace {

/// The first thing that is wrong with one list, whose lock is held.
class list_examination {
public:
    list_examination(const memseg_list_layout& list, std::size_t index) : list_{list}, map_{list}
    {
        name_ = fmt::format("memseg list {}", index);
    }

    void check_bits()
    {
        std::uint64_t pages = 0;
        std::uint64_t last = 0;
        // By the bits alone: the top is what is checked.
        const auto end = map_.pages();
        for (auto page = map_.next_published(0, end); page != end;
             page = map_.next_published(page + 1, end)) {
            ++pages;
            last = page + 1;
        }
        const auto said = list_.published.load(std::memory_order_relaxed);  // locked
        if (pages * list_.page_bytes != said)
            report(
                fmt::format("{} pages have their bit set and {} bytes are counted", pages, said));
        if (map_.top() < last)
            report(
                fmt::format("page {} is published at or above the top, {}", last - 1, map_.top()));
        if (map_.next_hole(0, list_.kept_bytes / list_.page_bytes) !=
            list_.kept_bytes / list_.page_bytes)
            report("a page of the start is gone");
        published_ = pages;
    }

    void check_file(int fd)
    {
        struct stat status {};
        if (::fstat(fd, &status) != 0)
            return;
        const auto exist = static_cast<std::uint64_t>(status.st_blocks) * 512 / list_.page_bytes;
        if (exist != published_)
            report(fmt::format("{} pages exist and {} are published", exist, published_));
    }

    void check_spans(std::span<const byte_range> used)
    {
        std::uint64_t free_from = list_.base;
        for (const auto& [from, to] : used) {
            if (from < free_from)
                report(fmt::format("two spans cover {:#x}", from));
            const auto pages = map_.covering({from, to});
            if (map_.next_hole(pages.from, pages.to) != pages.to)
                report(fmt::format("the span at {:#x} lies on a page that is not published", from));
            free_from = to;
        }
    }

    [[nodiscard]] const std::optional<std::string>& fault() const noexcept { return fault_; }

private:
    void report(const std::string& text)
    {
        if (!fault_)
            fault_ = name_ + ": " + text;
    }

    const memseg_list_layout& list_;
    page_map map_;
    std::string name_;
    std::uint64_t published_ = 0;
    std::optional<std::string> fault_;
};

}  // namespace

std::optional<std::string> memory::find_fault(actor who)
{
    const guard held{*this, who};
    held.require();
    for (std::size_t i = 0; i != layout_.list_count; ++i) {
        list_examination list{layout_.lists[i], i};
        list.check_bits();
        list.check_file(files_[i].get());
        list.check_spans(used_ranges(layout_, i));
        if (list.fault())
            return list.fault();
    }
    return std::nullopt;
}

}  // namespace cohort
