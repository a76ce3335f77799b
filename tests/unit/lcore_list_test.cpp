// Lists of lcores, as the EAL writes them.

#include "cohort/member/lcore_list.hpp"

#include "cohort/base/error.hpp"

#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;

TEST_CASE("lists of lcores mean what they mean to the EAL", "[lanes]")
{
    const std::vector<std::pair<std::string, std::vector<lcore>>> cases{
        {"0", {{0, {0}}}},
        {"1,3-5", {{1, {1}}, {3, {3}}, {4, {4}}, {5, {5}}}},
        {"5-3", {{3, {3}}, {4, {4}}, {5, {5}}}},
        {"(0-1)@2", {{0, {2}}, {1, {2}}}},
        {"2@(5-7)", {{2, {5, 6, 7}}}},
        {"0-1@5", {{0, {5}}, {1, {5}}}},
        {"(3-5)@(0,2)", {{3, {0, 2}}, {4, {0, 2}}, {5, {0, 2}}}},
        {"(0,6)", {{0, {0, 6}}, {6, {0, 6}}}},
        {"(0,6),7-8", {{0, {0, 6}}, {6, {0, 6}}, {7, {7}}, {8, {8}}}},
        {"1,2@(5-7),(3-4)@(0,2)", {{1, {1}}, {2, {5, 6, 7}}, {3, {0, 2}}, {4, {0, 2}}}},
        {"1@2,1@3", {{1, {3}}}},
        {" 1 , 2 @ ( 3 - 4 , 6 ) ", {{1, {1}}, {2, {3, 4, 6}}}},
        {"127@1023", {{127, {1023}}}},
    };
    for (const auto& [text, wanted] : cases) {
        INFO(text);
        CHECK(parse_lcores("--lcores", text) == wanted);
        CHECK(parse_lcores("--lcores", to_text(wanted)) == wanted);
    }
}

TEST_CASE("what is no list of lcores is refused with the place where it is wrong", "[lanes]")
{
    const std::vector<std::pair<std::string, std::string>> cases{
        {"", "at character 1"},      {",", "at character 1"},   {"1,", "at character 3"},
        {"1-", "at character 3"},    {"(1", "at character 3"},  {"()", "at character 2"},
        {"1@", "at character 3"},    {"1@2@3", "character 4"},  {"1@()", "at character 4"},
        {"128", "from 0 to 127"},    {"1@1024", "0 to 1023"},   {"-1", "at character 1"},
        {"1)", "at character 2"},    {"1x", "at character 2"},  {"0x1", "at character 2"},
        {"((1))", "at character 2"}, {"1 2", "at character 3"}, {"99999999999", "from 0 to 127"},
        {"(1-2)(3)", "character 6"},
    };
    for (const auto& [text, fact] : cases) {
        INFO(text);
        CHECK_THROWS_WITH(parse_lcores("--lcores", text),
                          Catch::Contains(fact) && Catch::Contains("--lcores \"" + text + '"'));
    }
}
