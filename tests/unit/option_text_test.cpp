#include "cohort/primary/option_text.hpp"

#include <catch2/catch.hpp>

using namespace cohort;
using namespace cohort::primary;

TEST_CASE("amounts of memory are numbers with a letter for powers of 1024", "[options]")
{
    CHECK(parse_bytes("--memory", "64M") == 64_MiB);
    CHECK(parse_bytes("--memory", "2g") == 2_GiB);
    CHECK(parse_bytes("--memory", "4KiB") == 4_KiB);
    CHECK(parse_bytes("--memory", "1048576") == 1_MiB);
    CHECK(parse_bytes("--memory", "3", 1_MiB) == 3_MiB);
    for (const auto* text :
         {"", "M", "-1", "64X", "64MM", "1.5G", "16777216T", " 1", "0x10", "99999999999999999999"})
        CHECK_THROWS_WITH(parse_bytes("--memory", text),
                          Catch::StartsWith("--memory \"" + std::string{text} + "\" is not"));
}

TEST_CASE("amounts for nodes are in MiB unless a letter says otherwise", "[options]")
{
    CHECK(parse_amounts("--numa-mem", "512") == std::vector<std::size_t>{512_MiB});
    CHECK(parse_amounts("--numa-mem", "512,0,1G") == std::vector<std::size_t>{512_MiB, 0, 1_GiB});
    for (const auto* text : {"", ",", "1,", "1;2", "1,,2"})
        CHECK_THROWS_AS(parse_amounts("--numa-mem", text), error);
}

TEST_CASE("a group is a name that the system knows, or a number", "[options]")
{
    CHECK(parse_group("--group", "root") == 0);
    CHECK(parse_group("--group", "4242") == 4242);
    for (const auto* text : {"", "no such", "-1", "4294967295", "4294967296", "12a"})
        CHECK_THROWS_WITH(parse_group("--group", text),
                          Catch::Contains("is no group of this system"));
}

TEST_CASE("limits of page sizes name a size that exists", "[options]")
{
    const auto limits = parse_page_limits("--pagesz-mem", "2M:512M,4K:1");

    REQUIRE(limits.size() == 2);
    CHECK(limits[0].size == page_size::huge_2m);
    CHECK(limits[0].bytes == 512_MiB);
    CHECK(limits[1].size == page_size::small);
    CHECK(limits[1].bytes == 1_MiB);
    for (const auto* text : {"", "2M", "2M:", ":4", "3M:1G", "2M:1G:2", "2M:1G,"})
        CHECK_THROWS_AS(parse_page_limits("--pagesz-mem", text), error);
}

TEST_CASE("an address is hexadecimal, with or without its mark", "[options]")
{
    CHECK(parse_address("--window-base", "551000000000") == 0x5510'0000'0000);
    CHECK(parse_address("--window-base", "0x551000000000") == 0x5510'0000'0000);
    for (const auto* text : {"", "0x", "upstairs", "12g", "11112222333344445"})
        CHECK_THROWS_AS(parse_address("--window-base", text), error);
}
