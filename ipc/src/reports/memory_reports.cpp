#include "cohort/ipc/reports.hpp"
#include "cohort/memory/memseg_walk.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

constexpr std::size_t cells = 64;  // of a drawn list

/// What a cell of a drawing stands for: the most telling thing in its bytes.
enum class content { hole, page, zone };

struct drawn_list {
    std::uint64_t cell_bytes = 0;
    std::vector<content> row;
};

/// A list up to its highest page, in cells of equal length.
drawn_list draw(const memory_layout& memory, std::size_t index)
{
    const auto& list = memory.lists[index];
    const page_map map{list};
    const auto pages = std::max<std::uint64_t>(map.top(), 1);
    const auto pages_per_cell = (pages + cells - 1) / cells;
    drawn_list drawn{
        pages_per_cell * list.page_bytes,
        std::vector<content>((pages + pages_per_cell - 1) / pages_per_cell, content::hole)};
    const auto raise = [&](std::uint64_t from, std::uint64_t to, content what) {
        for (auto cell = from / drawn.cell_bytes;
             cell * drawn.cell_bytes < to && cell < drawn.row.size(); ++cell)
            drawn.row[cell] = std::max(drawn.row[cell], what);
    };
    map.for_each_run([&](page_run run) {
        raise(run.from * list.page_bytes, run.to * list.page_bytes, content::page);
    });
    for (const auto* zone : zones_of(memory, index))
        raise(zone->address - list.base, zone->address - list.base + zone->length, content::zone);
    return drawn;
}

char letter_for(content what) noexcept
{
    switch (what) {
    case content::zone: return '#';
    case content::page: return '-';
    case content::hole: return '.';
    }
    return '?';
}

std::string_view colour(content what) noexcept
{
    switch (what) {
    case content::zone: return "#3b6ea5";
    case content::page: return "#b9d3ea";
    case content::hole: return "#f2f2f2";
    }
    return "none";
}

/// For people the backing only: a line has 80 columns.
cell backing_cell(const memseg_list_layout& list, const memseg_list_usage& usage)
{
    const std::string backing = list.backing == page_backing::hugetlbfs ? "hugetlbfs"
                                : list.transparent != 0                 ? "memfd, thp"
                                                                        : "memfd";
    return {backing,
            {{"backing", backing},
             {"address", fmt::format("{:#x}", list.base)},
             {"pages", usage.published / list.page_bytes},
             {"max_bytes", list.max_bytes},
             {"growths", list.growths.load(std::memory_order_relaxed)},          // for display
             {"give_backs", list.give_backs.load(std::memory_order_relaxed)}}};  // for display
}

std::string title(const memory_layout& memory, std::size_t index)
{
    const auto& list = memory.lists[index];
    const auto usage = usage_of(memory, index);
    return fmt::format("list {}: {} pages on node {}, {} in pages, {} in use, largest free {}",
                       index, to_text(page_size{list.page_bytes}), list.numa_node,
                       bytes_text(usage.published), bytes_text(usage.used),
                       bytes_text(usage.largest_free));
}

}  // namespace

table list_memory(const region_layout& region)
{
    table shown{{"list", "page", "node", "backing", "bytes", "used", "free", "largest_free"}, {}};
    for_each_memseg_list(region.memory, [&](const memseg_list_layout& list, std::size_t index) {
        const auto usage = usage_of(region.memory, index);
        shown.rows.push_back({index, page_cell(list.page_bytes), list.numa_node,
                              backing_cell(list, usage), usage.published, usage.used,
                              usage.published - usage.used, usage.largest_free});
    });
    return shown;
}

std::string map_of_memory(const region_layout& region)
{
    std::string text;
    for_each_memseg_list(region.memory, [&](const memseg_list_layout& list, std::size_t index) {
        const auto drawn = draw(region.memory, index);
        text += title(region.memory, index) + "\n";
        std::string row;
        for (const auto cell : drawn.row)
            row += letter_for(cell);
        text +=
            fmt::format("  {:#x} |{}| {} a cell\n", list.base, row, bytes_text(drawn.cell_bytes));
    });
    return text + "  # in use   - page, free   . hole\n";
}

std::string picture_of_memory(const region_layout& region)
{
    constexpr int cell = 12;
    constexpr int line = 60;
    std::string body;
    int top = 20;
    for_each_memseg_list(region.memory, [&](const memseg_list_layout&, std::size_t index) {
        const auto drawn = draw(region.memory, index);
        body += fmt::format("<text x=\"10\" y=\"{}\">{}, {} a cell</text>\n", top,
                            title(region.memory, index), bytes_text(drawn.cell_bytes));
        for (std::size_t i = 0; i != drawn.row.size(); ++i)
            body +=
                fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"20\" fill=\"{}\" "
                            "stroke=\"white\"/>\n",
                            10 + static_cast<int>(i) * cell, top + 8, cell, colour(drawn.row[i]));
        top += line;
    });
    return fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
                       "font-family=\"sans-serif\" font-size=\"13\">\n{}"
                       "<text x=\"10\" y=\"{}\">dark: in use, light: page, free, grey: "
                       "hole</text>\n</svg>\n",
                       20 + static_cast<int>(cells) * cell, top + 10, body, top);
}

}  // namespace cohort::ipc
