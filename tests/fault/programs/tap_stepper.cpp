// A member that sends or receives at the port "tap" between two breakpoints, for the single-step
// killer. Usage: tap_stepper DOMAIN send|receive. What it sends it has from the ring "again".

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <array>
#include <chrono>
#include <span>
#include <string_view>

namespace {

[[gnu::always_inline]] inline void breakpoint()
{
    asm volatile("int3" ::: "memory");
}

}  // namespace

int main(int argc, char** argv)
{
    using namespace cohort;
    if (argc != 3)
        return 2;
    const bool sends = std::string_view{argv[2]} == "send";
    const auto domain = secondary::attach(argv[1], std::chrono::seconds{10}, "victim");
    auto tap = domain->find_port("tap").value();
    auto again = domain->find_ring<mbuf*>("again").value();
    std::array<mbuf*, 4> packets{};
    const auto count = sends ? again.dequeue_burst(packets) : 0;
    static_cast<void>(sends ? tap.tx_burst(0, {}) : tap.rx_burst(0, {}));  // the queue is its own
    test::say("ready");
    static_cast<void>(test::hear());
    breakpoint();
    if (sends)
        static_cast<void>(tap.tx_burst(0, std::span{packets}.first(count)));
    else
        static_cast<void>(tap.rx_burst(0, packets));
    breakpoint();
    return 0;
}
