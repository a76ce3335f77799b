// What a tap port with an offload header leaves to the kernel, and the kernel to it.

#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/tx_prepare.hpp"
#include "process/port_domain.hpp"
#include "support/eventually.hpp"
#include "support/packet_bytes.hpp"
#include "support/port_receive.hpp"
#include "support/skip.hpp"

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include <netinet/in.h>

namespace cohort::test {
namespace {

constexpr std::uint16_t udp_port = 4242;
const std::string mac_of_kernel("\x02\xa0\x00\x00\x00\x01", 6);
const std::string mac_of_station("\x02\xa0\x00\x00\x00\x02", 6);

/// A tap interface at 10.9.0.1 that knows a station 10.9.0.2 behind it.
port make_port(port_domain& scratch, const std::string& options = {})
{
    auto made = scratch.make("tap:iface=tap,mac=02:a0:00:00:00:01" + options);
    scratch_network::run("ip addr add 10.9.0.1/24 dev tap && ip neigh add 10.9.0.2 lladdr "
                         "02:a0:00:00:00:02 dev tap nud permanent");
    return made;
}

/// A UDP socket of the kernel at 10.9.0.1.
class udp_socket {
public:
    udp_socket() : fd_{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)}
    {
        const auto own = address(0x0a09'0001, udp_port);
        REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
    }
    ~udp_socket() { ::close(fd_); }
    udp_socket(const udp_socket&) = delete;
    udp_socket& operator=(const udp_socket&) = delete;

    void send_to_station(std::string_view text) const
    {
        const auto there = address(0x0a09'0002, udp_port);
        REQUIRE(::sendto(fd_, text.data(), text.size(), 0,
                         reinterpret_cast<const sockaddr*>(&there),
                         sizeof there) == static_cast<ssize_t>(text.size()));
    }
    /// Empty when nothing has come now.
    [[nodiscard]] std::string receive() const
    {
        std::string text(2048, '\0');
        const auto got = ::recv(fd_, text.data(), text.size(), MSG_DONTWAIT);
        text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
        return text;
    }

private:
    static sockaddr_in address(std::uint32_t host, std::uint16_t port)
    {
        sockaddr_in made{};
        made.sin_family = AF_INET;
        made.sin_port = htons(port);
        made.sin_addr.s_addr = htonl(host);
        return made;
    }

    int fd_;
};

std::string be16(std::size_t value)
{
    return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

/// From the station to the kernel, with checksums that are wrong.
std::string ip_frame(char protocol, const std::string& payload)
{
    return mac_of_kernel + mac_of_station + be16(0x0800) + "\x45" + std::string(1, '\0') +
           be16(20 + payload.size()) + be16(1) + be16(0) + "\x40" + protocol + be16(0xbad) +
           std::string("\x0a\x09\x00\x02\x0a\x09\x00\x01", 8) + payload;
}
std::string udp_frame(const std::string& text)
{
    return ip_frame(17,
                    be16(udp_port) + be16(udp_port) + be16(8 + text.size()) + be16(0xbad) + text);
}
std::string tcp_frame(const std::string& text)
{
    return ip_frame(6, be16(1000) + be16(2000) + std::string(8, '\1') + "\x50\x10" + be16(1024) +
                           be16(0xbad) + be16(0) + text);
}

/// In segments of so many bytes each.
mbuf* packet_in(pktmbuf_pool& pool, const std::string& bytes, std::size_t segment = 2000)
{
    mbuf* whole = nullptr;
    for (std::size_t at = 0; at < bytes.size(); at += segment) {
        auto* part = packet_of(pool, std::string_view{bytes}.substr(at, segment));
        if (whole)
            REQUIRE(chain(*whole, *part));
        else
            whole = part;
    }
    return whole;
}

constexpr std::uint64_t udp_flags =
    mbuf_flag::tx_ipv4 | mbuf_flag::tx_ip_cksum | mbuf_flag::tx_udp_cksum;
constexpr tx_offload_parts ip_lengths{.l2_len = 14, .l3_len = 20};

}  // namespace

TEST_CASE("a frame that the kernel leaves without a checksum has what completes it", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const bool offload = GENERATE(false, true);
    port_domain scratch{buffers};
    auto port = make_port(scratch, offload ? ",offload=1" : "");
    const udp_socket kernel;
    kernel.send_to_station("hello");
    const auto packets = receive(port, 1);
    REQUIRE(packets.size() == 1);
    auto& packet = *packets[0];

    CHECK(text_of(packet).substr(42) == "hello");
    CHECK((verify_l4_checksum(packet) == checksum_state::good) == !offload);
    CHECK(((packet.ol_flags & mbuf_flag::rx_l4_cksum_mask) == mbuf_flag::rx_l4_cksum_none) ==
          offload);
    CHECK(prepare_tx(packet) == nullptr);
    CHECK(verify_l4_checksum(packet) == checksum_state::good);
    free(&packet);
    CHECK(scratch.pool().objects().in_use() == 0);
}

TEST_CASE("the kernel completes what the flags of a packet ask for at a tap port", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    auto port = make_port(scratch, ",offload=1");
    const udp_socket kernel;
    const raw_station beside{"tap"};
    beside.hear_offloads();
    const auto send = [&](mbuf* packet, std::uint64_t flags) {
        packet->ol_flags |= flags;
        packet->tx_offload = ip_lengths.pack();
        return port.tx_burst(0, {&packet, 1}) == 1;
    };
    const auto heard = [&] {
        std::string text;
        static_cast<void>(eventually([&] { return !(text = kernel.receive()).empty(); }));
        return text;
    };

    REQUIRE(send(packet_in(scratch.pool(), udp_frame("unfinished")), 0));  // the kernel drops it
    REQUIRE(send(packet_in(scratch.pool(), udp_frame("whole")), udp_flags));
    CHECK(heard() == "whole");
    std::string header;  // virtio_net_hdr: the kernel is to complete it, from byte 34 on, at 6
    while (header.find("whole") == std::string::npos)
        REQUIRE(eventually([&] { return !(header = beside.receive()).empty(); }));
    CHECK((header[0] & 1) != 0);
    CHECK(header[6] == 34);
    CHECK(header[8] == 6);
    REQUIRE(send(packet_in(scratch.pool(), udp_frame("in pieces"), 25), udp_flags));
    CHECK(heard() == "in pieces");
    auto* written = packet_in(scratch.pool(), udp_frame("shared"));
    auto* copy = clone(*written, scratch.pool().objects());
    REQUIRE(copy);
    REQUIRE(send(copy, udp_flags));
    CHECK(heard() == "shared");
    CHECK(text_of(*written) == udp_frame("shared"));  // nothing was written into it
    free(written);

    auto* wrong = packet_in(scratch.pool(), udp_frame("wrong"));
    wrong->data_len = 30;  // ends before the headers that the flags speak of
    wrong->pkt_len = 30;
    auto* foreign = packet_in(scratch.pool(), udp_frame("foreign"));
    auto* longer = packet_in(scratch.pool(), udp_frame(std::string(2000, 'l')));  // and not cut
    for (auto [packet, flags] : {std::pair{wrong, udp_flags},
                                 {foreign, udp_flags | mbuf_flag::tx_udp_seg},
                                 {longer, udp_flags}}) {
        packet->ol_flags |= flags;
        packet->tx_offload = ip_lengths.pack();
        CHECK(port.prepare_tx({&packet, 1}).count == 0);
        REQUIRE(port.tx_burst(0, {&packet, 1}) == 1);
    }
    CHECK(port.tx_stats().errors == 3);
    CHECK(scratch.pool().objects().in_use() == 0);
}

TEST_CASE("a long TCP packet reaches the kernel whole, with the size of its segments",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    auto port = make_port(scratch, ",offload=1");
    const raw_station kernel{"tap"};
    kernel.hear_offloads();
    const std::string text(9'000, 't');

    auto* packet = packet_in(scratch.pool(), tcp_frame(text));
    packet->ol_flags |= mbuf_flag::tx_ipv4 | mbuf_flag::tx_ip_cksum | mbuf_flag::tx_tcp_seg;
    packet->tx_offload =
        tx_offload_parts{.l2_len = 14, .l3_len = 20, .l4_len = 20, .tso_segsz = 1'000}.pack();
    REQUIRE(port.tx_burst(0, {&packet, 1}) == 1);

    std::string heard;
    REQUIRE(eventually([&] { return !(heard = kernel.receive()).empty(); }));
    // virtio_net_hdr: flags, kind of segments; bytes of headers, of each segment, where the
    // checksum begins and lies.
    CHECK((heard[0] & 1) != 0);  // it is not worked out
    CHECK(heard[1] == 1);        // TCP over IPv4
    std::array<std::uint16_t, 4> sizes{};
    std::memcpy(sizes.data(), heard.data() + 2, sizeof sizes);
    CHECK(sizes[1] == 1'000);
    CHECK(sizes[2] == 34);
    CHECK(sizes[3] == 16);
    CHECK(heard.substr(10 + 54) == text);
    // What stands in the place of the checksum: the sum of addresses, protocol and length.
    const auto field = std::uint32_t{static_cast<unsigned char>(heard[10 + 50])} << 8 |
                       static_cast<unsigned char>(heard[10 + 51]);
    const std::uint32_t sum =
        0x0a09 + 2 + 0x0a09 + 1 + 6 + 20 + static_cast<std::uint32_t>(text.size());
    CHECK(field == (sum >> 16) + (sum & 0xffff));
    CHECK(ipv4_header_is_intact(std::as_bytes(std::span{heard}).subspan(10 + 14, 20)));
    CHECK(port.tx_stats().packets == 1);
    CHECK(port.tx_stats().errors == 0);
    CHECK(scratch.pool().objects().in_use() == 0);
}

TEST_CASE("as long as somebody has a descriptor of an interface, its header stays as it is",
          "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    const bool before = GENERATE(false, true);
    port_domain scratch{buffers};
    const std::array options{std::string{}, std::string{",offload=1"}};
    {
        const auto kept = make_port(scratch, options[before]);
        scratch.domain().destroy_port("wire");
        CHECK(scratch.refusal_of("tap:iface=tap" + options[!before], {.rx_pool = "packets"},
                                 {"tap", before ? "with offload=1" : "without offload=1"}) ==
              errc::in_use);
    }
}

TEST_CASE("an interface that stays is as the next tap port asks for", "[port][tap]")
{
    COHORT_SKIP_UNLESS(scratch_network::tap_possible(), scratch_network::tap_missing);
    port_domain scratch{buffers};
    {
        auto port = make_port(scratch, ",offload=1,persist=1");
        scratch.domain().destroy_port("wire");
    }
    auto port = scratch.make("tap:iface=tap");
    const udp_socket kernel;
    kernel.send_to_station("hello");
    const auto packets = receive(port, 1);
    REQUIRE(packets.size() == 1);
    CHECK(text_of(*packets[0]).substr(42) == "hello");
    CHECK(verify_l4_checksum(*packets[0]) == checksum_state::good);
    free(packets[0]);
}

}  // namespace cohort::test
