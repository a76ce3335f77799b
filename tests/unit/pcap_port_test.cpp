// The pcap port, from files written by hand to files read back, in one process with several lanes.

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/primary/primary.hpp"
#include "support/capture_bytes.hpp"
#include "support/scratch_directory.hpp"
#include "support/skip.hpp"

#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <catch2/catch.hpp>

#include <sys/resource.h>

namespace {

using namespace cohort;
using namespace cohort::test;
namespace fs = std::filesystem;

class scratch_domain {
public:
    explicit scratch_domain(const pktmbuf_options& pool = {.count = 1024, .cache_size = 32})
        : domain_{primary::start({.name = "pcap", .memory = 16_MiB, .huge = huge_policy::none})}
    {
        domain_->create_pktmbuf_pool("packets", pool);
    }

    [[nodiscard]] domain& operator*() const noexcept { return *domain_; }
    [[nodiscard]] domain* operator->() const noexcept { return domain_.get(); }

    port create(const std::string& options)
    {
        return domain_->create_port("file", "pcap:" + options, {.rx_pool = "packets"});
    }
    [[nodiscard]] fs::path file(const std::string& name) const { return directory_.path() / name; }
    [[nodiscard]] std::size_t in_use() const
    {
        return domain_->find_pktmbuf_pool("packets")->objects().in_use();
    }

    /// A file with these bytes, and the option that reads it.
    [[nodiscard]] std::string reading(const capture_bytes& bytes) const
    {
        const auto path = file("in.pcap");
        std::ofstream{path, std::ios::binary} << bytes.text();
        return "rx=" + path.string();
    }

private:
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_;
};

std::string contents(const fs::path& path)
{
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

std::string payload(const mbuf& packet)
{
    std::string text(packet.pkt_len, '\0');
    CHECK(read(packet, 0, std::as_writable_bytes(std::span{text})));
    return text;
}

/// What one packet looked like, after it was freed.
struct received {
    std::string payload;
    std::uint64_t timestamp = 0;
    std::uint32_t wire_length = 0;
    std::uint16_t segments = 0;
};

std::vector<received> receive_all(port& from, std::size_t most = 1'000'000)
{
    std::vector<received> all;
    std::array<mbuf*, 16> packets;
    while (all.size() < most && !from.rx_ended(0)) {
        const auto want = std::min(packets.size(), most - all.size());
        const auto count = from.rx_burst(0, std::span{packets}.first(want));
        for (auto* packet : std::span{packets}.first(count)) {
            CHECK(find_fault(*packet, true) == nullptr);
            CHECK(packet->port == from.layout().index);
            all.push_back({payload(*packet), packet->timestamp, packet->wire_len, packet->nb_segs});
            free(packet);
        }
    }
    return all;
}

void forward_all(port& through)
{
    std::array<mbuf*, 64> packets;
    while (!through.rx_ended(0)) {
        auto burst = std::span<mbuf* const>{packets}.first(through.rx_burst(0, packets));
        while (!burst.empty())
            burst = burst.subspan(through.tx_burst(0, burst));
    }
}

/// The capture that comes with the sources, or nothing when the tests run away from them.
fs::path sample_capture()
{
    for (auto at = fs::read_symlink("/proc/self/exe"); at != at.root_path(); at = at.parent_path())
        if (const auto found = at / "examples/captures/veth.pcap"; fs::exists(found))
            return found;
    return {};
}

bool is_refused_as_bad_input(scratch_domain& scratch, const std::string& options)
{
    try {
        static_cast<void>(scratch.create(options));
    } catch (const error& refusal) {
        INFO(refusal.what());
        CHECK(std::string_view{refusal.what()}.find('\n') == std::string_view::npos);
        return refusal.reason() == errc::bad_input;
    }
    return false;
}

capture_bytes numbered(std::size_t packets)
{
    capture_bytes bytes = capture_bytes::pcap();
    for (std::size_t i = 0; i != packets; ++i)
        bytes.record(i, "packet " + std::to_string(i));
    return bytes;
}

}  // namespace

TEST_CASE("a real capture comes out byte for byte as it went in", "[port][pcap]")
{
    const auto sample = sample_capture();
    COHORT_SKIP_UNLESS(!sample.empty(), "the sources beside the build directory");
    scratch_domain scratch;
    auto through =
        scratch.create("rx=" + sample.string() + ",tx=" + scratch.file("out.pcap").string());

    forward_all(through);

    CHECK(contents(scratch.file("out.pcap")) == contents(sample));
    CHECK(through.layout().tx[0].packets.load() == through.layout().rx[0].packets.load());
    CHECK(through.layout().tx[0].bytes.load() == through.layout().rx[0].bytes.load());
    CHECK(scratch.in_use() == 0);
}

TEST_CASE("time stamps keep their nanoseconds, and microseconds become nanoseconds", "[port][pcap]")
{
    scratch_domain scratch;
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
    scratch_domain scratch;
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

TEST_CASE("what the capture cut off a packet shows in its wire length, there and back",
          "[port][pcap]")
{
    scratch_domain scratch;
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
    scratch_domain scratch;
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
    scratch_domain scratch;
    auto from = scratch.create(scratch.reading(capture_bytes::pcap()) + ",loops=5");

    CHECK(receive_all(from).empty());
    CHECK(from.rx_ended(0));
    CHECK(from.layout().rx[0].errors.load() == 0);
}

TEST_CASE("what is no capture is refused in one sentence", "[port][pcap]")
{
    scratch_domain scratch;

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
    scratch_domain scratch;
    const auto early =
        capture_bytes::pcapng().interface(link_type::ethernet).interface(link_type::raw);
    auto late = capture_bytes::pcapng().interface(link_type::ethernet);
    late.enhanced(0, 1, "first").interface(link_type::raw).enhanced(1, 2, "second");

    CHECK(is_refused_as_bad_input(scratch, scratch.reading(early)));
    CHECK(is_refused_as_bad_input(scratch, scratch.reading(late)));
}

TEST_CASE("the link type is that of the input, or as asked for", "[port][pcap]")
{
    scratch_domain scratch;
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
    scratch_domain scratch;
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
    scratch_domain scratch{{.count = 1024, .cache_size = 32, .data_room = 0xffff}};
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

TEST_CASE("loops deliver the file as often as asked, and a successor carries on in the middle",
          "[port][pcap]")
{
    scratch_domain scratch;
    auto from = scratch.create(scratch.reading(numbered(7)) + ",loops=3");
    std::vector<received> packets;

    // Two bursts in the first loop, one that reaches into the second, the rest: each by a lane of
    // its own.
    for (const std::size_t most : {2u, 3u, 5u, 1'000u})
        std::thread{[&] {
            for (auto& packet : receive_all(from, most))
                packets.push_back(std::move(packet));
        }}.join();

    REQUIRE(packets.size() == 21);
    for (std::size_t i = 0; i != packets.size(); ++i)
        CHECK(packets[i].payload == "packet " + std::to_string(i % 7));
    CHECK(from.layout().rx[0].packets.load() == 21);
}

TEST_CASE("without a buffer no packet is lost, only late", "[port][pcap]")
{
    scratch_domain scratch{{.count = 8, .cache_size = 0}};
    auto from = scratch.create(scratch.reading(numbered(10)));
    std::array<mbuf*, 16> packets;

    CHECK(from.rx_burst(0, packets) == 8);
    CHECK(from.rx_burst(0, std::span{packets}.last(8)) == 0);
    CHECK(from.layout().rx[0].no_buffer.load() == 2);
    free_bulk(std::span{packets}.first(8));

    REQUIRE(from.rx_burst(0, packets) == 2);
    CHECK(payload(*packets[0]) == "packet 8");
    CHECK(payload(*packets[1]) == "packet 9");
    CHECK(from.rx_ended(0));
}

TEST_CASE("a packet larger than the whole pool is an error and not a standstill", "[port][pcap]")
{
    scratch_domain scratch{{.count = 4, .cache_size = 0}};
    auto from = scratch.create(scratch.reading(
        capture_bytes::pcap().record(1, std::string(9000, 'x')).record(2, "small")));

    const auto packets = receive_all(from);

    REQUIRE(packets.size() == 1);
    CHECK(packets[0].payload == "small");
    CHECK(from.layout().rx[0].errors.load() == 1);
}

TEST_CASE("a successor cuts off what its predecessor had not published", "[port][pcap]")
{
    scratch_domain scratch;
    const auto out = scratch.file("out.pcap");
    auto through = scratch.create(scratch.reading(numbered(2)) + ",tx=" + out.string());
    std::array<mbuf*, 2> packets;
    REQUIRE(through.rx_burst(0, packets) == 2);
    std::thread{[&] { CHECK(through.tx_burst(0, std::span{packets}.first(1)) == 1); }}.join();

    std::ofstream{out, std::ios::app | std::ios::binary} << std::string(100, 'x');
    CHECK(through.tx_burst(0, std::span{packets}.last(1)) == 1);

    CHECK(contents(out) == numbered(2).text());
}

TEST_CASE("when the disk is full the packets stay with the caller and the file stays sound",
          "[port][pcap]")
{
    scratch_domain scratch;
    const auto out = scratch.file("out.pcap");
    auto through = scratch.create(scratch.reading(numbered(4)) + ",tx=" + out.string());
    std::array<mbuf*, 4> packets;
    REQUIRE(through.rx_burst(0, packets) == 4);
    CHECK(through.tx_burst(0, std::span{packets}.first(2)) == 2);
    const auto good = contents(out);

    // A limit on file sizes stands in for a full disk; it cuts into the next record.
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit tight{.rlim_cur = good.size() + 20, .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
    CHECK(through.tx_burst(0, std::span{packets}.last(2)) == 0);
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, SIG_DFL);

    CHECK(contents(out) == good);
    CHECK(through.layout().tx[0].errors.load() == 1);
    CHECK(through.layout().tx[0].last_errno.load() != 0);
    CHECK(through.tx_burst(0, std::span{packets}.last(2)) == 2);
    CHECK(contents(out) == numbered(4).text());
}

TEST_CASE("the output may not be the input", "[port][pcap]")
{
    scratch_domain scratch;
    const auto rx = scratch.reading(numbered(2));
    const auto link = scratch.file("another-name");
    fs::create_hard_link(scratch.file("in.pcap"), link);

    CHECK_THROWS_AS(scratch.create(rx + ",tx=" + link.string()), error);

    CHECK(contents(link) == numbered(2).text());
}

TEST_CASE("options are checked, and paths may hold commas and backslashes", "[port][pcap]")
{
    scratch_domain scratch;
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

TEST_CASE("a queue serves one lane at a time", "[port][pcap]")
{
    scratch_domain scratch;
    auto from = scratch.create(scratch.reading(numbered(3)));
    mbuf* packet = nullptr;
    REQUIRE(from.rx_burst(0, {&packet, 1}) == 1);
    free(packet);

    std::thread{[&] { CHECK(from.rx_burst(0, {&packet, 1}) == 0); }}.join();

    CHECK(receive_all(from).size() == 2);
}
