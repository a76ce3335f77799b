// cohort capture: what it writes of a port at work and of a ring, and that whoever captures may be
// stopped and killed.

#include "process/attempt.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/packet_bytes.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <pcap/pcap.h>

namespace cohort::test {
namespace {

using namespace std::chrono_literals;

constexpr auto limit = 30s;

/// Ethernet, IPv4, UDP from 10.0.0.1:7 to 10.0.0.2:`to`, and a text; checksums are left out.
std::string udp_frame(std::uint16_t to, const std::string& text)
{
    const auto be16 = [](std::size_t value) {
        return std::string{static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
    };
    std::string frame(12, '\2');
    frame += be16(0x0800) + '\x45' + '\0' + be16(28 + text.size()) + std::string(4, '\0');
    frame += std::string{"\x40\x11\0\0\x0a\0\0\1\x0a\0\0\2", 12};
    return frame + be16(7) + be16(to) + be16(8 + text.size()) + be16(0) + text;
}

/// What libpcap finds in a file: the packets' bytes.
std::vector<std::string> packets_in(const std::string& file)
{
    std::array<char, PCAP_ERRBUF_SIZE> why{};
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> opened{
        pcap_open_offline_with_tstamp_precision(file.c_str(), PCAP_TSTAMP_PRECISION_NANO,
                                                why.data()),
        &pcap_close};
    INFO(why.data());
    REQUIRE(opened);
    CHECK(pcap_datalink(opened.get()) == DLT_EN10MB);
    std::vector<std::string> all;
    pcap_pkthdr* header = nullptr;
    const u_char* bytes = nullptr;
    int more = 0;
    while ((more = pcap_next_ex(opened.get(), &header, &bytes)) == 1)
        all.emplace_back(reinterpret_cast<const char*>(bytes), header->caplen);
    CHECK(more == PCAP_ERROR_BREAK);  // the end, and no error
    return all;
}

/// A port between two rings, and the packets that go round.
class captured_domain {
public:
    captured_domain()
        : pool_{domain_->create_pktmbuf_pool("packets", {.count = 256, .cache_size = 8})}
        , in_{domain_->create_ring<mbuf*>("in", 64)}
        , out_{domain_->create_ring<mbuf*>("out", 64)}
        , port_{domain_->create_port("wire", "ring:rx=in,tx=out", {.rx_pool = "packets"})}
    {
    }
    [[nodiscard]] scratch_domain& domain() noexcept { return domain_; }
    [[nodiscard]] cohort::port& port() noexcept { return port_; }
    [[nodiscard]] ring<mbuf*>& in() noexcept { return in_; }
    [[nodiscard]] pktmbuf_pool& pool() noexcept { return pool_; }

    [[nodiscard]] mbuf* packet(const std::string& text) { return packet_of(pool_, text); }
    /// Receives it and sends it on.
    void pass(const std::string& text)
    {
        REQUIRE(in_.enqueue(packet(text)));
        mbuf* received = nullptr;
        REQUIRE(port_.rx_burst(0, {&received, 1}) == 1);
        REQUIRE(port_.tx_burst(0, {&received, 1}) == 1);
        REQUIRE(out_.dequeue(received));
        free(received);
    }
    [[nodiscard]] bool is_captured() const noexcept { return port_.layout().capture.load() != 0; }
    void await_capture() const
    {
        REQUIRE(eventually([&] { return is_captured(); }));
    }
    [[nodiscard]] std::size_t streams() const
    {
        std::size_t count = 0;
        for_each_live(domain_->region().memory, zone_kind::capture, [&](auto&) { ++count; });
        return count;
    }

private:
    // `domain_` is asked by const members, too.
    mutable scratch_domain domain_;
    pktmbuf_pool pool_;
    ring<mbuf*> in_;
    ring<mbuf*> out_;
    cohort::port port_;
};

/// 0 as long as there is no such file.
std::uintmax_t size_of(const std::string& file)
{
    std::error_code none;
    const auto size = std::filesystem::file_size(file, none);
    return none ? 0 : size;
}

std::vector<std::string> capturing(std::vector<std::string> rest)
{
    rest.insert(rest.begin(), {"-d", "scratch", "capture"});
    return rest;
}

}  // namespace

TEST_CASE("cohort capture writes what a member receives and sends, for libpcap to read",
          "[tool][capture]")
{
    const scratch_directory files;
    captured_domain traffic;
    const auto file = (files.path() / "out.pcapng").string();
    attempt tool{"cohort", capturing({"wire", "--write", file, "--count", "20"})};
    traffic.await_capture();

    std::vector<std::string> passed;
    for (std::uint16_t i = 0; i != 10; ++i) {
        const auto text = udp_frame(i, std::string(i * 30u, 'x'));
        traffic.pass(text);
        passed.insert(passed.end(), 2, text);
    }

    const auto seen = tool.wait();
    CHECK(seen.status == exit_status{});
    CHECK_THAT(seen.sentence, Catch::Contains("20 packets captured of 20 seen, 0 missed"));
    CHECK(packets_in(file) == passed);
    CHECK(eventually([&] { return !traffic.is_captured(); }));
}

TEST_CASE("tcpdump reads what cohort capture writes into a pipe", "[tool][capture]")
{
    COHORT_SKIP_UNLESS(std::system("command -v tcpdump >/dev/null") == 0, "tcpdump");
    const scratch_directory files;
    captured_domain traffic;
    const auto lines = (files.path() / "lines").string();
    const auto cohort = child_process::path_of("cohort") + " -d scratch capture wire";
    const auto command = cohort + " --write - --count 4 | tcpdump -nn -r - >" + lines + " 2>&1";
    attempt both{"/bin/sh", {"-c", command}};
    traffic.await_capture();

    traffic.pass(udp_frame(4711, "one"));
    traffic.pass(udp_frame(4712, "and two"));

    CHECK(both.wait().status == exit_status{});
    std::ifstream in{lines};
    const std::string said{std::istreambuf_iterator<char>{in}, {}};
    CHECK_THAT(said, Catch::Contains("link-type EN10MB"));
    CHECK_THAT(said, Catch::Contains("IP 10.0.0.1.7 > 10.0.0.2.4711: UDP, length 3"));
    CHECK_THAT(said, Catch::Contains("IP 10.0.0.1.7 > 10.0.0.2.4712: UDP, length 7"));
}

TEST_CASE("cohort capture keeps what passes its filter, cut to the length that was asked for",
          "[tool][capture]")
{
    const scratch_directory files;
    captured_domain traffic;
    const auto file = (files.path() / "out.pcapng").string();
    attempt tool{"cohort", capturing({"wire", "-w", file, "-f", "udp dst port 53", "--snaplen",
                                      "44", "--count", "2"})};
    traffic.await_capture();

    for (const std::uint16_t to : std::array<std::uint16_t, 3>{52, 53, 54})
        traffic.pass(udp_frame(to, "some more text"));

    CHECK(tool.wait().status == exit_status{});
    const auto wanted = udp_frame(53, "some more text").substr(0, 44);
    CHECK(packets_in(file) == std::vector{wanted, wanted});
}

TEST_CASE("cohort capture prints a line for each packet when it has no file", "[tool][capture]")
{
    captured_domain traffic;
    auto tool = child_process::spawn("cohort", capturing({"wire", "--count", "2"}));
    traffic.await_capture();

    traffic.pass(udp_frame(53, "text"));

    for (const std::string direction : {"rx", "tx"}) {
        const auto line = tool.read_line(limit);
        REQUIRE(line);
        CHECK_THAT(*line, Catch::Contains(" " + direction +
                                          " 0    46 bytes  10.0.0.1:7 > "
                                          "10.0.0.2:53 UDP"));
    }
    CHECK(tool.wait(limit) == exit_status{});
}

TEST_CASE("cohort capture --json prints a line for each packet and one that counts",
          "[tool][capture]")
{
    captured_domain traffic;
    auto tool = child_process::spawn("cohort", capturing({"wire", "--count", "2", "--json"}));
    traffic.await_capture();

    traffic.pass(udp_frame(53, "text"));

    for (const auto* direction : {"rx", "tx"}) {
        const auto line = nlohmann::json::parse(tool.read_line(limit).value());
        CHECK(line.at("direction") == direction);
        CHECK(line.at("bytes") == 46);
        CHECK(line.at("packet") == "10.0.0.1:7 > 10.0.0.2:53 UDP");
    }
    CHECK(nlohmann::json::parse(tool.read_line(limit).value()) ==
          nlohmann::json{{"captured", 2}, {"seen", 2}, {"missed", 0}});
    CHECK(tool.wait(limit) == exit_status{});
}

TEST_CASE("cohort capture ends at a signal with a whole file, and when its port is destroyed",
          "[tool][capture]")
{
    const scratch_directory files;
    captured_domain traffic;
    const auto file = (files.path() / "out.pcapng").string();
    attempt tool{"cohort", capturing({"wire", "--write", file})};
    traffic.await_capture();
    traffic.pass(udp_frame(1, "text"));

    SECTION("a signal")
    {
        REQUIRE(eventually([&] { return size_of(file) > 200; }));
        tool.child().kill(SIGTERM);
    }
    SECTION("its port goes")
    {
        REQUIRE(eventually([&] { return size_of(file) > 200; }));
        CHECK(traffic.domain()->destroy_port("wire"));
        CHECK(traffic.streams() == 0);
    }

    CHECK(tool.wait().status == exit_status{});
    CHECK(packets_in(file).size() == 2);
}

TEST_CASE("a capturer that is killed leaves nothing on the port, and the next one captures",
          "[tool][capture]")
{
    captured_domain traffic;
    for (int round = 0; round != 3; ++round) {
        auto tool = child_process::spawn("cohort", capturing({"wire"}));
        traffic.await_capture();
        traffic.pass(udp_frame(53, "text"));
        tool.kill();
        REQUIRE(tool.wait(limit));

        CHECK(eventually([&] { return !traffic.is_captured(); }));  // its reaper was here
        traffic.pass(udp_frame(53, "text"));
        CHECK(traffic.streams() == 1);
    }
    CHECK(traffic.domain().audit().clean());
}

TEST_CASE("a capturer that is stopped costs packets of its capture, and none of the port's",
          "[tool][capture][stop]")
{
    const scratch_directory files;
    captured_domain traffic;
    const auto file = (files.path() / "out.pcapng").string();
    attempt tool{"cohort", capturing({"wire", "--write", file})};
    traffic.await_capture();
    stop(tool.child());
    const auto room = capture_stream_bytes / 2048;  // packets whose records fit, about

    for (std::size_t i = 0; i != room + 200; ++i)
        traffic.pass(std::string(2000, 'x'));  // each is received and sent
    tool.child().kill(SIGCONT);
    REQUIRE(eventually([&] { return size_of(file) > room * 4000; }));
    tool.child().kill(SIGINT);

    const auto seen = tool.wait();
    CHECK(seen.status == exit_status{});
    const auto captured = packets_in(file).size();
    const auto missed = 2 * (room + 200) - captured;
    CHECK(missed > 0);
    CHECK_THAT(seen.sentence, Catch::Contains(", " + std::to_string(missed) + " missed"));
}

TEST_CASE("cohort capture shows what lies in a ring, and counts what was taken before it saw it",
          "[tool][capture]")
{
    const scratch_directory files;
    captured_domain traffic;
    const auto file = (files.path() / "out.pcapng").string();
    for (std::uint16_t i = 0; i != 5; ++i)
        REQUIRE(traffic.in().enqueue(traffic.packet(udp_frame(i, "text"))));
    attempt tool{"cohort", capturing({"in", "--write", file, "--count", "7"})};
    REQUIRE(eventually(
        [&] { return std::filesystem::exists(file) && std::filesystem::file_size(file) > 500; }));
    stop(tool.child());

    // Two pass while it does not look.
    for (std::uint16_t i = 5; i != 7; ++i)
        REQUIRE(traffic.in().enqueue(traffic.packet(udp_frame(i, "text"))));
    for (mbuf* packet = nullptr; traffic.in().dequeue(packet);)
        free(packet);
    for (std::uint16_t i = 7; i != 9; ++i)
        REQUIRE(traffic.in().enqueue(traffic.packet(udp_frame(i, "text"))));
    tool.child().kill(SIGCONT);

    const auto seen = tool.wait();
    CHECK(seen.status == exit_status{});
    CHECK_THAT(seen.sentence, Catch::Contains("7 packets captured of 7 seen, 2 missed"));
    std::vector<std::string> wanted;
    for (const std::uint16_t i : std::array<std::uint16_t, 7>{0, 1, 2, 3, 4, 7, 8})
        wanted.push_back(udp_frame(i, "text"));
    CHECK(packets_in(file) == wanted);
    for (mbuf* packet = nullptr; traffic.in().dequeue(packet);)
        free(packet);
}

TEST_CASE("a capture that finds no room for its file ends with a sentence, and frees the port",
          "[tool][capture]")
{
    captured_domain traffic;
    attempt tool{"cohort", capturing({"wire", "--write", "/dev/full"})};

    const auto seen = tool.wait();

    CHECK(seen.status == exit_status{.code = static_cast<int>(errc::system), .signal = 0});
    CHECK_THAT(seen.sentence, Catch::Contains("cannot write to \"/dev/full\": No space left"));
    CHECK(eventually([&] { return !traffic.is_captured(); }));
    traffic.pass(udp_frame(1, "text"));
}

TEST_CASE("what cannot be captured is refused in a sentence", "[tool][capture]")
{
    captured_domain traffic;
    traffic.domain()->create_ring<std::uint64_t>("numbers", 8);

    const auto refused = [](const std::vector<std::string>& rest, errc code,
                            const std::vector<std::string>& says) {
        check_refused(run("cohort", capturing(rest)), code, says);
    };
    refused({"none"}, errc::not_found, {"no port and no ring \"none\""});
    refused({"numbers"}, errc::invalid_argument, {"values of 8 bytes"});
    refused({"wire", "--filter", "no such word"}, errc::invalid_argument, {"no such word"});
    refused({"wire", "--snaplen", "0"}, errc::invalid_argument, {"snaplen"});
    refused({"wire", "--write", "/no/such/place"}, errc::system, {"/no/such/place"});
    CHECK_FALSE(traffic.is_captured());
}

TEST_CASE("a second capture of a port is refused and names the lane that has it", "[tool][capture]")
{
    captured_domain traffic;
    const attempt first{"cohort", capturing({"wire"})};
    traffic.await_capture();

    check_refused(run("cohort", capturing({"wire"})), errc::in_use, {"captured by lane"});
}

}  // namespace cohort::test
