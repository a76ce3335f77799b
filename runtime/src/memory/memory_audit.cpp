#include "cohort/base/error.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/memory/memseg_walk.hpp"
#include "memory_guard.hpp"

#include <cerrno>
#include <thread>

#include <fmt/format.h>

#include <sys/stat.h>

namespace cohort {
namespace {

constexpr auto pause_when_in_vain = 500ms;

std::uint64_t existing_bytes(int fd) noexcept
{
    struct stat status {};
    ::fstat(fd, &status);  // cannot fail for a file in memory
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

/// Whether a file that has `exist` bytes is as it should be. Where the kernel makes transparent
/// hugepages it may have more: those around a page that was asked for.
bool agree(const memseg_list_layout& list, std::uint64_t exist, std::uint64_t published)
{
    return exist == published || (exist > published && list.page_bytes == bytes(page_size::small) &&
                                  shared_thp_allowed(list.transparent != 0));
}

/// What a look without the lock has seen of a list.
struct blocks {
    std::uint64_t exist = 0;
    std::uint64_t published = 0;
    std::uint64_t growths = 0;
    std::uint64_t give_backs = 0;

    blocks(const memseg_list_layout& list, int fd)
        : exist{existing_bytes(fd)}
        , published{list.published.load(std::memory_order_relaxed)}  // looked at again
        , growths{list.growths.load(std::memory_order_relaxed)}
        , give_backs{list.give_backs.load(std::memory_order_relaxed)}
    {
    }
    bool operator==(const blocks&) const = default;

    [[nodiscard]] bool agree(const memseg_list_layout& list) const
    {
        return cohort::agree(list, exist, published);
    }
    [[nodiscard]] bool has_strays(const memseg_list_layout& list) const
    {
        return exist > published && !agree(list);
    }
};

/// Whether there are strays at each look for that time, and the lock was free at most of them: then
/// members could have given them back.
bool strays_stay(const memory_layout& layout, const memseg_list_layout& list, int fd,
                 steady_clock::duration patience)
{
    unsigned looks = 0;
    unsigned free_looks = 0;
    for (const auto until = deadline_in(patience); steady_clock::now() < until;) {
        std::this_thread::sleep_for(2ms);
        if (!blocks{list, fd}.has_strays(list))
            return false;
        ++looks;
        free_looks += layout.lock.holder() == 0 ? 1 : 0;
    }
    return 2 * free_looks > looks;
}

/// Whether what a list and its file say stays as it is.
bool stays(const blocks& first, const memory_layout& layout, const memseg_list_layout& list, int fd)
{
    for (int look = 0; look != 2; ++look) {
        std::this_thread::sleep_for(2ms);
        if (layout.lock.holder() != 0 || !(blocks{list, fd} == first))
            return false;
    }
    return true;
}

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
        const auto exist = existing_bytes(fd);
        if (!agree(list_, exist, published_ * list_.page_bytes))
            report(fmt::format("{} pages exist and {} are published", exist / list_.page_bytes,
                               published_));
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

void memory::give_back_strays(actor who, bool at_once)
{
    for (std::size_t i = 0; i != layout_.list_count; ++i) {
        const auto& list = layout_.lists[i];
        if (!blocks{list, files_[i].get()}.has_strays(list) ||
            (!at_once &&
             steady_clock::now() < not_before_[i].load(std::memory_order_relaxed)))  // a hint
            continue;
        if (const guard held{*this, who, deadline{}}; held.held()) {
            supply_.give_back_gaps(i);
            if (blocks{list, files_[i].get()}.has_strays(list))
                not_before_[i].store(deadline_in(pause_when_in_vain), std::memory_order_relaxed);
        }
    }
}

std::vector<std::string> compare_with_files(const memory_layout& layout,
                                            const memory::files& segment_files,
                                            steady_clock::duration patience)
{
    std::vector<std::string> faults;
    for (std::size_t i = 0; i != layout.list_count; ++i) {
        const auto& list = layout.lists[i];
        const int fd = segment_files[i].get();
        const blocks seen{list, fd};
        const bool wrong = seen.has_strays(list)
                               ? strays_stay(layout, list, fd, patience)
                               : !seen.agree(list) && stays(seen, layout, list, fd);
        if (wrong)
            faults.push_back(fmt::format("memseg list {}: {} pages exist and {} are published", i,
                                         seen.exist / list.page_bytes,
                                         seen.published / list.page_bytes));
    }
    return faults;
}

}  // namespace cohort
