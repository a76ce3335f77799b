#include "cohort/member/lcore_list.hpp"

#include "cohort/base/error.hpp"

#include <algorithm>
#include <bitset>
#include <charconv>
#include <map>

#include <fmt/format.h>

namespace cohort {
namespace {

using number_set = std::bitset<max_lcore_cpu + 1>;

/// How the ids of an item were written: without "@", only a bare range or number pins each to its
/// own processor.
struct parsed_set {
    number_set numbers;
    bool in_brackets = false;
};

class lcore_reader {
public:
    lcore_reader(std::string_view option, std::string_view text) : option_{option}, text_{text} {}

    std::vector<lcore> read()
    {
        std::map<unsigned, std::vector<int>> found;
        do
            read_item(found);
        while (take(','));
        if (at_ != text_.size())
            refuse("a comma or the end of the list is expected");
        std::vector<lcore> all;
        for (auto& [id, cpus] : found)
            all.push_back({id, std::move(cpus)});
        return all;
    }

private:
    void read_item(std::map<unsigned, std::vector<int>>& found)
    {
        const auto ids = read_set(max_lcores - 1, "an lcore");
        const bool placed = take('@');
        const auto cpus = placed ? read_set(max_lcore_cpu, "a processor").numbers : ids.numbers;
        for (unsigned id = 0; id != max_lcores; ++id)
            if (ids.numbers[id])
                found[id] =
                    placed || ids.in_brackets ? listed(cpus) : std::vector{static_cast<int>(id)};
    }

    parsed_set read_set(unsigned highest, std::string_view what)
    {
        parsed_set set;
        set.in_brackets = take('(');
        do
            read_range(set.numbers, highest, what);
        while (set.in_brackets && take(','));
        if (set.in_brackets && !take(')'))
            refuse("a comma or \")\" is expected");
        return set;
    }

    void read_range(number_set& numbers, unsigned highest, std::string_view what)
    {
        const auto first = read_number(highest, what);
        const auto last = take('-') ? read_number(highest, what) : first;
        for (auto each = std::min(first, last); each <= std::max(first, last); ++each)
            numbers.set(each);
    }

    unsigned read_number(unsigned highest, std::string_view what)
    {
        skip_blanks();
        unsigned number = 0;
        const auto* const from = text_.data() + at_;
        const auto [end, failure] = std::from_chars(from, text_.data() + text_.size(), number);
        if (failure != std::errc{} || number > highest)
            refuse(fmt::format("{} from 0 to {} is expected", what, highest));
        at_ += static_cast<std::size_t>(end - from);
        return number;
    }

    bool take(char expected)
    {
        skip_blanks();
        if (at_ == text_.size() || text_[at_] != expected)
            return false;
        ++at_;
        return true;
    }

    void skip_blanks() noexcept
    {
        while (at_ != text_.size() && (text_[at_] == ' ' || text_[at_] == '\t'))
            ++at_;
    }

    static std::vector<int> listed(const number_set& numbers)
    {
        std::vector<int> all;
        for (std::size_t each = 0; each != numbers.size(); ++each)
            if (numbers[each])
                all.push_back(static_cast<int>(each));
        return all;
    }

    [[noreturn]] void refuse(std::string_view expected) const
    {
        throw error{errc::invalid_argument,
                    fmt::format("{} \"{}\" is no list of lcores: {} at character {}; write it as "
                                "in 1,3-5,(0-1)@2,6@(5-7)",
                                option_, text_, expected, at_ + 1)};
    }

    std::string_view option_;
    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace

std::vector<lcore> parse_lcores(std::string_view option, std::string_view text)
{
    return lcore_reader{option, text}.read();
}

std::string to_text(const std::vector<lcore>& lcores)
{
    std::string text;
    for (const auto& each : lcores)
        text +=
            fmt::format("{}{}@({})", text.empty() ? "" : ",", each.id, fmt::join(each.cpus, ","));
    return text;
}

}  // namespace cohort
