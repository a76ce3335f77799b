// Any text as an option of cohortd: it is read, or refused in one sentence that names the option.
//
// The first input byte chooses the option, the rest is its text.

#include "cohort/base/error.hpp"
#include "cohort/member/lcore_list.hpp"
#include "cohort/primary/option_text.hpp"

#include <array>
#include <cstdlib>
#include <functional>
#include <string_view>

namespace {

using namespace cohort;
using namespace cohort::primary;

void require(bool holds)
{
    if (!holds)
        std::abort();
}

void read_bytes(std::string_view text)
{
    static_cast<void>(parse_bytes("--option", text));
}

void read_amounts(std::string_view text)
{
    require(!parse_amounts("--option", text).empty());
}

void read_limits(std::string_view text)
{
    for (const auto& limit : parse_page_limits("--option", text))
        require(limit.size == page_size::small || limit.size == page_size::huge_2m ||
                limit.size == page_size::huge_1g);
}

void read_huge(std::string_view text)
{
    static_cast<void>(parse_huge("--option", text));
}

void read_address(std::string_view text)
{
    static_cast<void>(parse_address("--option", text));
}

void read_lcores(std::string_view text)
{
    const auto lcores = parse_lcores("--option", text);
    require(!lcores.empty());
    for (const auto& each : lcores)
        require(each.id < max_lcores && !each.cpus.empty());
    require(parse_lcores("--option", to_text(lcores)) == lcores);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    constexpr std::array readers{read_bytes, read_amounts, read_limits,
                                 read_huge,  read_address, read_lcores};
    if (size == 0)
        return 0;
    const std::string_view text{reinterpret_cast<const char*>(data + 1), size - 1};
    try {
        readers[data[0] % readers.size()](text);
    } catch (const error& refused) {
        require(refused.reason() == errc::invalid_argument);
        require(std::string_view{refused.what()}.find("--option") != std::string_view::npos);
    }
    return 0;
}
