// A member that works at the port "wire" between two breakpoints, for the single-step killer.
// Usage: port_stepper DOMAIN send|receive|claim. What it sends it has from the ring "again".

#include "cohort/secondary/secondary.hpp"
#include "fault/breakpoint.hpp"
#include "support/conversation.hpp"

#include <array>
#include <chrono>
#include <span>
#include <string_view>

int main(int argc, char** argv)
{
    using namespace cohort;
    if (argc != 3)
        return 2;
    const std::string_view call = argv[2];
    const auto domain = secondary::attach(argv[1], std::chrono::seconds{10}, "victim");
    auto wire = domain->find_port("wire").value();
    auto again = domain->find_ring<mbuf*>("again").value();
    std::array<mbuf*, 4> packets{};
    const auto count = call == "send" ? again.dequeue_burst(packets) : 0;
    if (call != "claim")  // the queue is its own
        static_cast<void>(call == "send" ? wire.tx_burst(0, {}) : wire.rx_burst(0, {}));
    test::let_others_wait_at_breakpoints();
    test::say("ready");
    static_cast<void>(test::hear());
    test::breakpoint();
    if (call == "send") {
        static_cast<void>(wire.tx_burst(0, std::span{packets}.first(count)));
    } else if (call == "receive") {
        static_cast<void>(wire.rx_burst(0, packets));
    } else {
        static_cast<void>(wire.rx_burst(0, {}));
        static_cast<void>(wire.tx_burst(0, {}));
    }
    test::breakpoint();
    return 0;
}
