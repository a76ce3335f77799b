// A member that uses the port "port" of domain $1: receives 12 packets, sends 4 of them, says
// "holding", and waits to be killed.

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"

#include <array>
#include <exception>
#include <span>

#include <fmt/format.h>

int main(int argc, char** argv)
{
    using namespace cohort;
    if (argc != 2)
        return 2;
    try {
        const auto domain = secondary::attach(argv[1], std::chrono::seconds{30}, "port user");
        auto port = domain->find_port("port").value();
        std::array<mbuf*, 12> packets{};
        std::size_t have = 0;
        if (!test::eventually([&] {
                have += port.rx_burst(0, std::span{packets}.subspan(have));
                return have == packets.size();
            }))
            return 3;
        std::size_t sent = 0;
        if (!test::eventually([&] {
                sent += port.tx_burst(0, std::span{packets}.first(4).subspan(sent));
                return sent == 4;
            }))
            return 4;
        test::say("holding");
        static_cast<void>(test::hear());
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "port_user: {}\n", failure.what());
        return 1;
    }
}
