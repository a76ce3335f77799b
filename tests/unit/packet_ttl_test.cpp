#include "cohort/packet/checksum.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/packet/ttl.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include <catch2/catch.hpp>

namespace {

using namespace cohort;
using frame = std::vector<std::byte>;

constexpr std::uint8_t forward = 3;
constexpr std::uint8_t other_stage = 4;
constexpr std::size_t l2_bytes = 14;

/// An Ethernet frame with an IPv4 header whose other fields are drawn from `random`.
frame ipv4_frame(std::mt19937& random, std::uint8_t ttl)
{
    frame bytes(l2_bytes + 20 + 8);
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    detail::store_be16(bytes, 12, 0x0800);
    const auto header = std::span{bytes}.subspan(l2_bytes, 20);
    header[0] = std::byte{0x45};
    detail::store_be16(header, 2, 28);
    header[8] = std::byte{ttl};
    detail::store_be16(header, 10, 0);
    detail::store_be16(header, 10, internet_checksum(header));
    return bytes;
}

frame ipv6_frame(std::uint8_t hop_limit)
{
    frame bytes(l2_bytes + 40);
    detail::store_be16(bytes, 12, 0x86dd);
    bytes[l2_bytes] = std::byte{0x60};
    bytes[l2_bytes + 6] = std::byte{59};
    bytes[l2_bytes + 7] = std::byte{hop_limit};
    return bytes;
}

unsigned ttl_of(const frame& bytes)
{
    const bool v4 = detail::load_be16(bytes, 12) == 0x0800;
    return std::to_integer<unsigned>(bytes[l2_bytes + (v4 ? 8 : 7)]);
}

/// 0 for a correct header; any other value is the amount by which it is wrong.
std::uint16_t header_error(const frame& bytes)
{
    return internet_checksum(std::span{bytes}.subspan(l2_bytes, 20));
}

ttl_note plan(const frame& bytes, std::uint8_t stage = forward)
{
    return plan_ttl_decrement(parse(link_type::ethernet, bytes), bytes, stage);
}

/// What a process does that found the packet in the hands of a dead one, or got it first.
ttl_note run_stage(std::uint64_t& note_word, frame& bytes, std::uint8_t stage = forward)
{
    return lower_ttl_once(note_word, parse(link_type::ethernet, bytes), bytes, stage);
}

}  // namespace

TEST_CASE("a lowered IPv4 TTL leaves the checksum a full recomputation gives", "[packet]")
{
    std::mt19937 random{11};
    for (unsigned round = 0; round != 5000; ++round) {
        const auto ttl = static_cast<std::uint8_t>(1 + round % 255);
        auto bytes = ipv4_frame(random, ttl);
        auto expected = bytes;
        const auto header = std::span{expected}.subspan(l2_bytes, 20);
        header[8] = static_cast<std::byte>(ttl - 1);
        detail::store_be16(header, 10, 0);
        detail::store_be16(header, 10, internet_checksum(header));

        apply_ttl(plan(bytes), bytes);

        REQUIRE(bytes == expected);
    }
}

TEST_CASE("a checksum that was wrong stays wrong by the same amount", "[packet]")
{
    std::mt19937 random{12};
    for (int round = 0; round != 5000; ++round) {
        auto bytes = ipv4_frame(random, 64);
        const auto damage = static_cast<std::uint16_t>(1 + random() % 0xfffe);
        const auto header = std::span{bytes}.subspan(l2_bytes, 20);
        const auto damaged = static_cast<std::uint16_t>(detail::load_be16(header, 10) ^ damage);
        detail::store_be16(header, 10, damaged);
        const auto before = header_error(bytes);

        apply_ttl(plan(bytes), bytes);

        REQUIRE(header_error(bytes) == before);
    }
}

TEST_CASE("the hop limit of an IPv6 packet goes down and nothing else changes", "[packet]")
{
    auto bytes = ipv6_frame(64);
    auto expected = bytes;
    expected[l2_bytes + 7] = std::byte{63};

    const auto note = plan(bytes);
    apply_ttl(note, bytes);

    CHECK(note.change == ttl_change::ipv6);
    CHECK(bytes == expected);
}

TEST_CASE("applying a note twice leaves what applying it once leaves", "[packet]")
{
    std::mt19937 random{13};
    for (auto bytes : {ipv4_frame(random, 64), ipv6_frame(64)}) {
        const auto note = plan(bytes);
        apply_ttl(note, bytes);
        const auto once = bytes;

        apply_ttl(note, bytes);

        CHECK(bytes == once);
        CHECK(ttl_of(bytes) == 63);
    }
}

TEST_CASE("whatever a killed process has stored, another one finishes the packet", "[packet]")
{
    std::mt19937 random{14};
    const auto kind = GENERATE(0U, 1U, 2U);
    const std::array frames{ipv4_frame(random, 64), ipv4_frame(random, 1), ipv6_frame(64)};
    const auto& before = frames[kind];
    auto after = before;
    std::uint64_t finished_word = 0;
    run_stage(finished_word, after);
    std::vector<std::size_t> changed;
    for (std::size_t i = 0; i != before.size(); ++i)
        if (before[i] != after[i])
            changed.push_back(i);
    REQUIRE(!changed.empty());
    REQUIRE(changed.size() <= 3);

    SECTION("before the note: nothing was written, the work starts anew")
    {
        auto bytes = before;
        std::uint64_t note_word = 0;
        run_stage(note_word, bytes);
        CHECK(bytes == after);
        CHECK(note_word == finished_word);
    }
    SECTION("after the note: any of the changed bytes may be written, in any order")
    {
        for (unsigned written = 0; written != 1U << changed.size(); ++written) {
            auto bytes = before;
            for (std::size_t i = 0; i != changed.size(); ++i)
                if ((written >> i & 1) != 0)
                    bytes[changed[i]] = after[changed[i]];
            auto note_word = finished_word;

            run_stage(note_word, bytes);

            CAPTURE(written);
            CHECK(bytes == after);
            CHECK(note_word == finished_word);
        }
    }
}

TEST_CASE("a note counts for its own stage only: two stages lower the TTL twice", "[packet]")
{
    auto bytes = ipv6_frame(64);
    std::uint64_t note_word = 0;

    run_stage(note_word, bytes, forward);
    run_stage(note_word, bytes, forward);  // done again after a death
    CHECK(ttl_of(bytes) == 63);
    run_stage(note_word, bytes, other_stage);
    run_stage(note_word, bytes, other_stage);

    CHECK(ttl_of(bytes) == 62);
    CHECK(ttl_note::unpack(note_word).is_from(other_stage));
}

TEST_CASE("a TTL of 1 goes to 0, and 0 stays 0 with a note that changes nothing", "[packet]")
{
    std::mt19937 random{15};
    for (auto bytes : {ipv4_frame(random, 1), ipv6_frame(1)}) {
        apply_ttl(plan(bytes), bytes);
        CHECK(ttl_of(bytes) == 0);
        const auto expired = bytes;

        const auto note = plan(bytes);
        apply_ttl(note, bytes);

        CHECK(note.is_from(forward));
        CHECK(note.change == ttl_change::none);
        CHECK(bytes == expired);
    }
}

TEST_CASE("a packet that is not IP, or not whole, is noted and left alone", "[packet]")
{
    std::mt19937 random{16};
    auto arp = frame(42);
    detail::store_be16(arp, 12, 0x0806);
    auto cut = ipv4_frame(random, 64);
    cut.resize(l2_bytes + 19);

    for (auto bytes : {arp, cut, frame{}}) {
        const auto before = bytes;
        std::uint64_t note_word = 0;

        const auto note = run_stage(note_word, bytes);

        CHECK(note.change == ttl_change::none);
        CHECK(ttl_note::unpack(note_word).is_from(forward));
        CHECK(bytes == before);
    }
}

TEST_CASE("a packed note is unpacked unchanged, and 0 is no note", "[packet]")
{
    const ttl_note note{.valid = true,
                        .change = ttl_change::ipv6,
                        .stage = 0xfe,
                        .l3_offset = 0xabcd,
                        .ttl = 0x7f,
                        .checksum = 0x8001};

    CHECK(ttl_note::unpack(note.pack()) == note);
    CHECK(note.pack() == 0x8001'007f'abcd'fe05);
    CHECK(ttl_note{}.pack() == 0);
    CHECK_FALSE(ttl_note::unpack(0).valid);
    CHECK_FALSE(ttl_note::unpack(~std::uint64_t{1}).is_from(0xff));
    CHECK_FALSE(ttl_note::unpack(0).is_from(0));
}

TEST_CASE("no note, whatever it says, writes outside the span", "[packet]")
{
    std::mt19937_64 random{17};
    for (std::size_t size = 0; size != 80; ++size) {
        for (int round = 0; round != 200; ++round) {
            auto word = random();
            if (round % 2 == 0)
                word &= ~std::uint64_t{0xff80'0000};  // an offset that may fit
            frame bytes(size, std::byte{0x5a});
            bytes.shrink_to_fit();  // AddressSanitizer guards the end

            apply_ttl(ttl_note::unpack(word), bytes);

            REQUIRE(std::ranges::count(bytes, std::byte{0x5a}) >= static_cast<long>(size) - 3);
        }
    }
}

TEST_CASE("a checksum over pieces of any length equals the one over the whole", "[packet]")
{
    std::mt19937 random{7};
    frame bytes(257);
    std::ranges::generate(bytes, [&] { return static_cast<std::byte>(random()); });
    const auto whole = std::span<const std::byte>{bytes};

    for (std::size_t first = 0; first <= bytes.size(); ++first) {
        const auto rest = whole.subspan(first);
        const auto second = rest.size() / 3;
        const auto value = checksum_builder{}
                               .add(whole.first(first))
                               .add(rest.first(second))
                               .add(rest.subspan(second))
                               .value();
        REQUIRE(value == internet_checksum(bytes));
    }
}

TEST_CASE("the checksum agrees with the worked example of RFC 1071", "[packet]")
{
    frame bytes;
    for (const int value : {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})
        bytes.push_back(static_cast<std::byte>(value));

    CHECK(internet_checksum(bytes) == static_cast<std::uint16_t>(~0xddf2));
    CHECK(checksum_builder{}.add_word(0x0001).add(std::span{bytes}.subspan(2)).value() ==
          internet_checksum(bytes));
    CHECK(internet_checksum({}) == 0xffff);
}

TEST_CASE("the incremental update agrees with the worked example of RFC 1624", "[packet]")
{
    CHECK(update_checksum(0xdd2f, 0x5555, 0x3285) == 0x0000);
}
