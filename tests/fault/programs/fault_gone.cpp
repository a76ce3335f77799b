// A member that is stopped with a look at a port behind it, while another destroys the port and
// uses its memory: "stale" stops, "reuse" does that.

#include "fault_member.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <string>

namespace cohort::fault_member {

/// Makes the port, and then does $3 with it: "claim", "set up" or "stop". Refused or not, it ends.
void use_gone_port(const arguments& given)
{
    const auto shared = join(given);
    auto port = shared->create_port("gone", "null:no-rx=1");
    if (given[2] == "set up")
        port.stop();
    test::say("ready");
    static_cast<void>(test::hear());
    try {
        if (given[2] == "claim")
            require(port.tx_burst(0, {}) == 0, "nothing was sent");
        else if (given[2] == "set up")
            port.set_up_tx(0, {});
        else
            port.stop();
    } catch (const error& refused) {
        require(refused.reason() == errc::invalid_argument, refused.what());
    }
}

void reuse_port_memory(const arguments& given)
{
    const auto shared = join(given);
    const auto* port = &shared->find_port("gone").value().layout();
    require(shared->destroy_port("gone"), "the port is gone");
    const auto zone = shared->reserve_memzone("reuse", sizeof(port_layout));
    const auto bytes = zone.bytes();
    require(reinterpret_cast<const void*>(bytes.data()) == port, "other memory is used");
    test::say("ready");
    static_cast<void>(test::hear());
    require(std::all_of(bytes.begin(), bytes.end(),
                        [](std::byte each) { return each == std::byte{0}; }),
            "somebody has written there");
    shared->release_memzone("reuse");
}

}  // namespace cohort::fault_member
