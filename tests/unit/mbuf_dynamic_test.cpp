#include "cohort/packet/mbuf_dynamic.hpp"

#include "support/refusal.hpp"
#include "support/scratch_domain.hpp"

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::refusal_of;
using cohort::test::scratch_domain;

TEST_CASE("a dynamic field has the same place for whoever registers it", "[packet][dynamic]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 16, .cache_size = 0});

    const auto number = domain->register_dynfield<std::uint64_t>("number");
    const auto letter = domain->register_dynfield<char>("letter");

    CHECK(number.offset() >= dynfield_begin);
    CHECK(number.offset() % alignof(std::uint64_t) == 0);
    CHECK(domain->register_dynfield<std::uint64_t>("number").offset() == number.offset());
    CHECK(domain->find_dynfield("number") == number.offset());
    CHECK_FALSE(domain->find_dynfield("another"));
    auto* packet = pool.alloc();
    number(*packet) = 0x1122334455667788;
    letter(*packet) = 'c';
    CHECK(number(std::as_const(*packet)) == 0x1122334455667788);
    free(packet);
}

TEST_CASE("a dynamic field that cannot be is refused as rte_mbuf_dyn does", "[packet][dynamic]")
{
    scratch_domain domain;
    const auto add = [&](dynfield_params wanted, std::optional<std::size_t> at = {}) {
        return refusal_of([&] { domain->register_dynfield(wanted, at); });
    };
    REQUIRE(add({.name = "known", .size = 4, .align = 4}) == errc{});

    CHECK(add({.name = "known", .size = 8, .align = 4}) == errc::exists);
    CHECK(add({.name = "known", .size = 4, .align = 2}) == errc::exists);
    CHECK(add({.name = "known", .size = 4, .align = 4}, 124) == errc::exists);
    CHECK(add({.name = "", .size = 4}) == errc::invalid_argument);
    CHECK(add({.name = std::string(64, 'x'), .size = 4}) == errc::name_too_long);
    CHECK(add({.name = "a", .size = 0}) == errc::invalid_argument);
    CHECK(add({.name = "a", .size = 129}) == errc::invalid_argument);
    CHECK(add({.name = "a", .size = 4, .align = 3}) == errc::invalid_argument);
    CHECK(add({.name = "a", .size = 4, .align = 4, .flags = 1}) == errc::invalid_argument);
    CHECK(add({.name = "a", .size = 4, .align = 4}, 118) == errc::invalid_argument);
    CHECK(add({.name = "a", .size = 4, .align = 4}, 0) == errc::in_use);    // buf_addr is there
    CHECK(add({.name = "a", .size = 4, .align = 4}, 112) == errc::in_use);  // "known" is there
    CHECK(add({.name = "a", .size = 8, .align = 4}, 124) == errc::in_use);  // longer than the mbuf
    CHECK(add({.name = "a", .size = 4, .align = 4}, 120) == errc{});
    CHECK(add({.name = "b", .size = 8, .align = 8}) == errc::no_space);  // 4 free bytes twice
    CHECK(add({.name = "c", .size = 4, .align = 4}) == errc{});
    CHECK(add({.name = "d", .size = 4, .align = 4}) == errc{});
    CHECK(add({.name = "e", .size = 1}) == errc::no_space);
}

TEST_CASE("dynamic flags are given out until all are taken", "[packet][dynamic]")
{
    scratch_domain domain;
    const auto add = [&](std::string_view name, std::optional<unsigned> bit = {},
                         std::uint32_t flags = 0) {
        return refusal_of([&] { domain->register_dynflag({.name = name, .flags = flags}, bit); });
    };

    CHECK(domain->register_dynflag({.name = "first"}) == mbuf_flag::first_dynamic);
    CHECK(domain->register_dynflag({.name = "first"}) == mbuf_flag::first_dynamic);
    CHECK(domain->find_dynflag("first") == mbuf_flag::first_dynamic);
    CHECK_FALSE(domain->find_dynflag("second"));
    CHECK_FALSE(domain->find_dynfield("first"));
    CHECK(add("first", 30) == errc::exists);
    CHECK(add("a", 64) == errc::invalid_argument);
    CHECK(add("a", {}, 1) == errc::invalid_argument);
    CHECK(add("a", 3) == errc::in_use);
    CHECK(add("a", mbuf_flag::first_dynamic) == errc::in_use);
    for (unsigned bit = mbuf_flag::first_dynamic + 1; bit <= mbuf_flag::last_dynamic; ++bit)
        CHECK(domain->register_dynflag({.name = "flag " + std::to_string(bit)}) == bit);
    CHECK(add("one more") == errc::no_space);
}
