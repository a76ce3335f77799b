// A member of domain $1 that forwards between the ports "left" and "right", both ways at queue $2,
// until it is killed. It says "forwarding" once it can. Nothing is dropped here: what cannot be
// sent now waits.

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>
#include <thread>

#include <fmt/format.h>

#include <unistd.h>

namespace {

using namespace cohort;

std::size_t move_burst(port& from, port& to, std::uint16_t queue)
{
    std::array<mbuf*, 32> burst;
    const auto count = from.rx_burst(queue, burst);
    for (std::size_t sent = 0; sent != count;)
        sent += to.tx_burst(queue, std::span{burst}.subspan(sent, count - sent));
    return count;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return 2;
    const auto queue = static_cast<std::uint16_t>(std::stoi(argv[2]));
    try {
        const auto domain = secondary::attach(argv[1], std::chrono::seconds{30}, "forwarder");
        auto left = domain->find_port("left").value();
        auto right = domain->find_port("right").value();
        const auto move_both_ways = [&] {
            return move_burst(left, right, queue) + move_burst(right, left, queue);
        };
        move_both_ways();
        test::say("forwarding");
        for (const auto parent = ::getppid(); ::getppid() == parent;)
            if (move_both_ways() == 0)
                std::this_thread::sleep_for(std::chrono::microseconds{50});
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "port_forwarder {}: {}\n", queue, failure.what());
        return 1;
    }
}
