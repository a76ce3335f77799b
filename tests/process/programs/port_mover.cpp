// A member of domain $1 that moves packets until it is killed.
//
//   create   makes the port "wire" over the interface "near", says "made", and goes on as rx
//   rx       from the port to the ring "got"
//   tx       from the ring "send" to the port

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <array>
#include <exception>
#include <span>
#include <string>

#include <fmt/format.h>

#include <unistd.h>

namespace {

using namespace cohort;

template <typename Take, typename Give>
void move_for_ever(Take take, Give give)
{
    std::array<mbuf*, 16> burst;
    for (const auto parent = ::getppid(); ::getppid() == parent;) {
        const auto count = take(std::span{burst});
        for (std::size_t done = 0; done != count;)
            done += give(std::span{burst}.subspan(done, count - done));
    }
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return 2;
    const std::string role = argv[2];
    try {
        const auto domain = secondary::attach(argv[1], std::chrono::seconds{30}, role);
        if (role == "create") {
            domain->create_port("wire", "af_packet:iface=near,promiscuous=1",
                                {.rx_pool = "packets"});
            test::say("made");
        }
        auto port = domain->find_port("wire").value();
        if (role == "tx") {
            auto send = domain->find_ring<mbuf*>("send").value();
            move_for_ever([&](auto burst) { return send.dequeue_burst(burst); },
                          [&](auto burst) { return port.tx_burst(0, burst); });
        } else {
            auto got = domain->find_ring<mbuf*>("got").value();
            move_for_ever([&](auto burst) { return port.rx_burst(0, burst); },
                          [&](auto burst) { return got.enqueue_burst(burst); });
        }
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "port_mover {}: {}\n", role, failure.what());
        return 1;
    }
}
