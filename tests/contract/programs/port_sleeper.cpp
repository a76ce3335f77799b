// A member that owns rx queue 0 of the port "port" of domain $1, says "asleep", sleeps at it, says
// "woken" if it is, and waits to be killed.

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"

#include <exception>

#include <fmt/format.h>

int main(int argc, char** argv)
{
    using namespace cohort;
    if (argc != 2)
        return 2;
    try {
        const auto domain = secondary::attach(argv[1], std::chrono::seconds{30}, "port sleeper");
        auto port = domain->find_port("port").value();
        const auto& owner = port.layout().rx[0].owner;
        if (!test::eventually([&] {
                static_cast<void>(port.rx_burst(0, {}));
                return owner.holder() != 0;
            }))
            return 3;
        test::say("asleep");
        if (port.rx_wait(0, deadline_in(1h)) == rx_wake::ready)
            test::say("woken");
        static_cast<void>(test::hear());
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "port_sleeper: {}\n", failure.what());
        return 1;
    }
}
