// A member of domain $1 that moves packets at queue $3 of the port "wire" until it is killed. Its
// role is $2:
//
//   create   makes the port as $4 says, says "made", and goes on as rx, or as both if there is a
//            ring "send"
//   rx       from the port to the ring "got"
//   tx       from the ring "send" to the port
//   both     rx and tx
//   answer   to ARP requests for any address, and to ICMP echo requests

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <exception>
#include <span>
#include <string>

#include <fmt/format.h>

#include <unistd.h>

namespace {

using namespace cohort;

/// Until the test is gone: `step` again and again.
template <typename Step>
void for_ever(Step step)
{
    for (const auto parent = ::getppid(); ::getppid() == parent;)
        step();
}

/// An empty burst too: it takes up what the last one at the queue has left.
template <typename Take, typename Give>
void move_burst(Take take, Give give)
{
    std::array<mbuf*, 16> burst;
    const auto count = take(std::span{burst});
    std::size_t done = 0;
    do {
        done += give(std::span{burst}.subspan(done, count - done));
    } while (done != count);
}

void receive(port& from, std::uint16_t queue, ring<mbuf*>& got)
{
    move_burst([&](auto burst) { return from.rx_burst(queue, burst); },
               [&](auto burst) { return got.enqueue_burst(burst); });
}

void send(ring<mbuf*>& waiting, port& to, std::uint16_t queue)
{
    move_burst([&](auto burst) { return waiting.dequeue_burst(burst); },
               [&](auto burst) { return to.tx_burst(queue, burst); });
}

constexpr std::array<std::uint8_t, 6> own_mac{2, 0, 0, 0, 0, 0x99};

/// Makes of an ARP request or an ICMP echo request its answer. False for anything else.
bool turn_round(mbuf& packet)
{
    auto* bytes = packet.data<std::uint8_t>();
    const auto type = bytes[12] << 8 | bytes[13];
    const bool is_request = type == 0x0806 && packet.data_len >= 42 && bytes[21] == 1;
    const bool is_echo =
        type == 0x0800 && packet.data_len >= 42 && bytes[23] == 1 && bytes[34] == 8;
    if (!is_request && !is_echo)
        return false;
    std::copy_n(bytes + 6, 6, bytes);
    std::copy(own_mac.begin(), own_mac.end(), bytes + 6);
    if (is_request) {  // operation, then address pairs of who speaks and who is spoken to
        bytes[21] = 2;
        std::swap_ranges(bytes + 22, bytes + 32, bytes + 32);
        std::copy(own_mac.begin(), own_mac.end(), bytes + 22);
        return true;
    }
    std::swap_ranges(bytes + 26, bytes + 30, bytes + 30);
    bytes[34] = 0;
    const auto sum = (bytes[36] << 8 | bytes[37]) + 0x0800;  // the sum has less to make up for
    bytes[36] = static_cast<std::uint8_t>((sum + (sum >> 16)) >> 8);
    bytes[37] = static_cast<std::uint8_t>(sum + (sum >> 16));
    return true;
}

void answer(port& wire)
{
    std::array<mbuf*, 16> burst;
    for (auto* packet : std::span{burst}.first(wire.rx_burst(0, burst)))
        if (!turn_round(*packet) || wire.tx_burst(0, {&packet, 1}) != 1)
            free(packet);
}

}  // namespace

int main(int argc, char** argv)
{
    const std::string role = argc > 2 ? argv[2] : "";
    if (argc != (role == "create" ? 5 : 4))
        return 2;
    const auto queue = static_cast<std::uint16_t>(std::stoi(argv[3]));
    try {
        const auto domain = secondary::attach(argv[1], std::chrono::seconds{30}, role);
        if (role == "create")
            domain->create_port("wire", argv[4], {.rx_pool = "packets"});
        auto port = domain->find_port("wire").value();
        auto got = domain->find_ring<mbuf*>("got");
        auto waiting = domain->find_ring<mbuf*>("send");
        if (role == "create")
            test::say("made");
        for_ever([&] {
            if (role == "answer")
                return answer(port);
            if (waiting && role != "rx")
                send(*waiting, port, queue);
            if (got && role != "tx")
                receive(port, queue, *got);
        });
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "port_mover {}: {}\n", role, failure.what());
        return 1;
    }
}
