// The pcap port: which files it reads and writes, and that nothing of a packet is lost on the way.

#include "cohort/port/drivers.hpp"
#include "support/skip.hpp"
#include "unit/pcap_scratch.hpp"

#include <cerrno>
#include <optional>
#include <thread>

using namespace cohort;
using namespace cohort::test;
namespace fs = std::filesystem;

namespace {

/// A name that the table of names places first.
std::string name_of_first_entry(zone_kind kind)
{
    const auto seed = static_cast<std::uint64_t>(kind) * 0x9e3779b97f4a7c15u;
    for (int number = 0;; ++number)
        if (const auto name = "pool" + std::to_string(number);
            fnv1a(name.data(), name.size(), seed) % usual_zones == 0)
            return name;
}

}  // namespace

TEST_CASE("a real capture comes out byte for byte as it went in", "[port][pcap]")
{
    const auto sample = sample_capture();
    COHORT_SKIP_UNLESS(!sample.empty(), "the sources beside the build directory");
    pcap_scratch scratch;
    auto through =
        scratch.create("rx=" + sample.string() + ",tx=" + scratch.file("out.pcap").string());

    forward_all(through);

    CHECK(contents(scratch.file("out.pcap")) == contents(sample));
    CHECK(through.layout().tx[0].packets.load() == through.layout().rx[0].packets.load());
    CHECK(through.layout().tx[0].bytes.load() == through.layout().rx[0].bytes.load());
    CHECK(scratch.in_use() == 0);
}

TEST_CASE("a port keeps its pool, or that it has none, when a pool has the first entry",
          "[port][pcap]")
{
    pcap_scratch scratch;
    const auto name = name_of_first_entry(zone_kind::mempool);
    auto pool = scratch->create_pktmbuf_pool(name, {.count = 64, .cache_size = 0});
    REQUIRE(pool.objects().layout().index == 0);
    const auto options =
        "pcap:" + scratch.reading(capture_bytes::pcap().record(1, "one").record(2, "two"));
    std::array<mbuf*, 4> packets;

    scratch->create_port("with", options, {.rx_pool = name});
    scratch->create_port("without", options);
    auto with = scratch->find_port("with").value();
    auto without = scratch->find_port("without").value();

    CHECK(without.rx_burst(0, packets) == 0);
    CHECK(without.layout().rx[0].errors.load() == 1);
    REQUIRE(with.rx_burst(0, packets) == 2);
    CHECK(pool.objects().in_use() == 2);
    free_bulk(std::span{packets}.first(2));
}

TEST_CASE("time stamps keep their nanoseconds, and microseconds become nanoseconds", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto format =
        GENERATE(capture_format{.nanoseconds = true}, capture_format{.nanoseconds = false},
                 capture_format{.nanoseconds = true, .big_endian = true});
    auto from = scratch.create(
        scratch.reading(capture_bytes::pcap(format).record(1'700'000'000'123'456'789, "x")));

    const auto packets = receive_all(from);

    REQUIRE(packets.size() == 1);
    CHECK(packets[0].timestamp ==
          (format.nanoseconds ? 1'700'000'000'123'456'789 : 1'700'000'000'123'456'000));
}

TEST_CASE("pcapng is read as well", "[port][pcap]")
{
    pcap_scratch scratch;
    auto from = scratch.create(scratch.reading(capture_bytes::pcapng()
                                                   .interface(link_type::ethernet)
                                                   .interface(link_type::ethernet)
                                                   .enhanced(0, 5'000'000'007, "first")
                                                   .enhanced(1, 6'000'000'008, "second")));

    const auto packets = receive_all(from);

    REQUIRE(packets.size() == 2);
    CHECK(packets[0].payload == "first");
    CHECK(packets[1].payload == "second");
    CHECK(packets[1].timestamp == 6'000'000'008);
}

TEST_CASE("what is written as pcapng is read as it was sent, also what a successor has written",
          "[port][pcap]")
{
    pcap_scratch scratch;
    auto bytes = capture_bytes::pcap().record(1'700'000'000'123'456'789, "cut", 1500);
    for (std::size_t length = 0; length != 9; ++length)  // each kind of padding
        bytes.record(1'700'000'001'000'000'000 + length, std::string(length, 'p'));
    const auto out = scratch.file("out.pcapng");
    auto through = scratch.create(scratch.reading(bytes) + ",format=pcapng,tx=" + out.string());
    std::array<mbuf*, 10> packets;
    REQUIRE(through.rx_burst(0, packets) == 10);

    std::thread{[&] { CHECK(through.tx_burst(0, std::span{packets}.first(3)) == 3); }}.join();
    std::ofstream{out, std::ios::app | std::ios::binary} << std::string(4096, 'x');
    CHECK(through.tx_burst(0, std::span{packets}.last(7)) == 7);

    CHECK(contents(out).starts_with("\n\r\r\n"));
    auto again = scratch->create_port("again", "pcap:rx=" + out.string(), {.rx_pool = "packets"});
    const auto read = receive_all(again);
    REQUIRE(read.size() == 10);
    CHECK(read[0].payload == "cut");
    CHECK(read[0].wire_length == 1500);
    CHECK(read[0].timestamp == 1'700'000'000'123'456'789);
    for (std::size_t length = 0; length != 9; ++length) {
        CHECK(read[length + 1].payload == std::string(length, 'p'));
        CHECK(read[length + 1].timestamp == 1'700'000'001'000'000'000 + length);
    }
    CHECK(again.layout().driver_words[pcap_word::rx_truncated] == 0);
    const auto input = scratch.reading(bytes);
    CHECK(scratch.refusal_of(input + ",format=pcapng") == errc::invalid_argument);
    CHECK(scratch.refusal_of(input + ",format=text,tx=" + scratch.file("b").string()) ==
          errc::invalid_argument);
    CHECK(scratch.refusal_of("format=pcapng,linktype=65536,tx=" + scratch.file("b").string()) ==
          errc::invalid_argument);
}

TEST_CASE("what the capture cut off a packet shows in its wire length, there and back",
          "[port][pcap]")
{
    pcap_scratch scratch;
    const auto bytes =
        capture_bytes::pcap().record(1, "cut", 1500).record(2, "whole").record(3, "");
    auto through =
        scratch.create(scratch.reading(bytes) + ",tx=" + scratch.file("out.pcap").string());
    std::array<mbuf*, 4> packets;

    REQUIRE(through.rx_burst(0, packets) == 3);

    CHECK(packets[0]->pkt_len == 3);
    CHECK(packets[0]->wire_len == 1500);
    CHECK(packets[1]->wire_len == 0);
    CHECK(packets[2]->pkt_len == 0);
    CHECK(through.tx_burst(0, std::span{packets}.first(3)) == 3);
    CHECK(contents(scratch.file("out.pcap")) == bytes.text());
}

TEST_CASE("a file cut in the middle of a record yields the packets before and one error",
          "[port][pcap]")
{
    pcap_scratch scratch;
    auto bytes = numbered(3);
    bytes.cut(5);
    auto from = scratch.create(scratch.reading(bytes));

    const auto packets = receive_all(from);

    CHECK(packets.size() == 2);
    CHECK(from.layout().rx[0].packets.load() == 2);
    CHECK(from.layout().rx[0].errors.load() == 1);
}

TEST_CASE("a capture without packets ends at once", "[port][pcap]")
{
    pcap_scratch scratch;
    auto from = scratch.create(scratch.reading(capture_bytes::pcap()) + ",loops=5");

    CHECK(receive_all(from).empty());
    CHECK(from.rx_ended(0));
    CHECK(from.layout().rx[0].errors.load() == 0);
}

TEST_CASE("what is no capture is refused in one sentence", "[port][pcap]")
{
    pcap_scratch scratch;

    CHECK(is_refused_as_bad_input(scratch,
                                  scratch.reading(capture_bytes::text("no capture at all, alas"))));
    CHECK(is_refused_as_bad_input(scratch, scratch.reading(capture_bytes::text(""))));
    CHECK(is_refused_as_bad_input(scratch, "rx=" + scratch.file("absent").string()));
    CHECK(is_refused_as_bad_input(scratch, "rx=/tmp"));
    CHECK(is_refused_as_bad_input(scratch, "rx=/dev/null"));
    CHECK(scratch->find_port("file") == std::nullopt);
}

TEST_CASE("mixed link types are refused, wherever in the file they turn up", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto early =
        capture_bytes::pcapng().interface(link_type::ethernet).interface(link_type::raw);
    auto late = capture_bytes::pcapng().interface(link_type::ethernet);
    late.enhanced(0, 1, "first").interface(link_type::raw).enhanced(1, 2, "second");

    CHECK(is_refused_as_bad_input(scratch, scratch.reading(early)));
    CHECK(is_refused_as_bad_input(scratch, scratch.reading(late)));
}

TEST_CASE("the link type is that of the input, or as asked for", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto link_of = [&](const port& made) {
        return made.layout().driver_words[pcap_word::tx_link_type];
    };
    const auto tx = "tx=" + scratch.file("out.pcap").string();
    const auto raw = capture_bytes::pcap({.link = link_type::raw}).record(1, "E");

    SECTION("of the input")
    {
        auto through = scratch.create(scratch.reading(raw) + "," + tx);
        forward_all(through);
        CHECK(contents(scratch.file("out.pcap")) == raw.text());
    }
    SECTION("none: Ethernet")
    {
        CHECK(link_of(scratch.create(tx)) == 1);
    }
    SECTION("as asked for")
    {
        CHECK(link_of(scratch.create(tx + ",linktype=113")) == 113);
    }
}

TEST_CASE("a jumbo frame becomes a chain and comes out whole", "[port][pcap]")
{
    pcap_scratch scratch;
    std::string jumbo;
    for (int i = 0; jumbo.size() < 9000; ++i)
        jumbo += std::to_string(i) + " ";
    const auto bytes = capture_bytes::pcap().record(1, jumbo).record(2, "small").record(3, jumbo);

    SECTION("to the caller")
    {
        auto from = scratch.create(scratch.reading(bytes));
        const auto packets = receive_all(from);
        REQUIRE(packets.size() == 3);
        CHECK(packets[0].payload == jumbo);
        CHECK(packets[0].segments == 5);
        CHECK(packets[1].segments == 1);
    }
    SECTION("to another file")
    {
        auto through =
            scratch.create(scratch.reading(bytes) + ",tx=" + scratch.file("out").string());
        forward_all(through);
        CHECK(contents(scratch.file("out")) == bytes.text());
    }
    CHECK(scratch.in_use() == 0);
}

TEST_CASE("a burst larger than the write buffer is accepted in parts", "[port][pcap]")
{
    pcap_scratch scratch{{.count = 1024, .cache_size = 32, .data_room = 0xffff}};
    auto bytes = capture_bytes::pcap();
    for (std::uint64_t i = 0; i != 20; ++i)
        bytes.record(i, std::string(60'000, static_cast<char>('a' + i)));
    auto through = scratch.create(scratch.reading(bytes) + ",tx=" + scratch.file("out").string());
    std::array<mbuf*, 20> packets;
    REQUIRE(through.rx_burst(0, packets) == 20);

    const auto first = through.tx_burst(0, packets);
    CHECK(first < 20);
    for (auto rest = std::span{packets}.subspan(first); !rest.empty();)
        rest = rest.subspan(through.tx_burst(0, rest));

    CHECK(contents(scratch.file("out")) == bytes.text());
}

TEST_CASE("the output may not be the input", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto rx = scratch.reading(numbered(2));
    const auto link = scratch.file("another-name");
    fs::create_hard_link(scratch.file("in.pcap"), link);

    CHECK_THROWS_AS(scratch.create(rx + ",tx=" + link.string()), error);

    CHECK(contents(link) == numbered(2).text());
}

TEST_CASE("a capture has one writer: another port is refused, or sends nothing", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto out = scratch.file("out").string();
    auto first = scratch.create(scratch.reading(numbered(3)) + ",tx=" + out);
    const bool made_before_the_first_burst = GENERATE(true, false);
    std::optional<port> second;
    if (made_before_the_first_burst)
        second = scratch->create_port("second", "pcap:tx=" + out);

    forward_all(first);

    if (second) {
        auto* packet = scratch->find_pktmbuf_pool("packets")->alloc_chain(60);
        CHECK(second->tx_burst(0, {&packet, 1}) == 0);
        CHECK(second->layout().tx[0].last_errno == EBUSY);
        free(packet);
    } else {
        CHECK_THROWS_WITH(scratch->create_port("second", "pcap:tx=" + out),
                          Catch::Contains("another port is writing"));
    }
    CHECK(contents(out) == numbered(3).text());
}

TEST_CASE("options are checked, and paths may hold commas and backslashes", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto rx = scratch.reading(numbered(1));
    CHECK_THROWS_AS(scratch.create("loops=2"), error);
    CHECK_THROWS_AS(scratch.create(rx + ",loop=2"), error);
    CHECK_THROWS_AS(scratch.create(rx + ",loops=many"), error);
    CHECK_THROWS_AS(scratch.create(rx + ",tx=" + scratch.file("absent/out").string()), error);

    const auto odd = scratch.file("a,b\\");
    auto through = scratch.create(rx + ",tx=" + escape_option(odd.string()));
    forward_all(through);

    CHECK(contents(odd) == numbered(1).text());
}
