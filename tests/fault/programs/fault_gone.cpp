// A member that is stopped with a look at a port behind it, while another destroys the port and
// uses its memory: "stale" stops, "reuse" does that. Or while another stops a queue of it, or puts
// one off.

#include "fault_member.hpp"
#include "support/conversation.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace cohort::fault_member {

/// Makes a port, and then sends a packet, which does not go.
void send_to_silent_queue(const arguments& given)
{
    const auto shared = join(given);
    auto port = shared->create_port("silent", "null:no-rx=1");
    auto* packet = shared->find_pktmbuf_pool("plain")->alloc();
    require(packet != nullptr, "the pool is empty");
    test::say("ready");
    static_cast<void>(test::hear());
    require(port.tx_burst(0, {&packet, 1}) == 0, "a stopped queue has sent");
    require(port.layout().tx[0].owner.holder() == 0, "a stopped queue has an owner");
    free(packet);
    require(shared->destroy_port("silent"), "the port is gone already");
}

/// Stops that queue.
void silence_queue(const arguments& given)
{
    const auto shared = join(given);
    auto port = shared->find_port("silent").value();
    port.stop_tx(0);
    require(port.layout().tx[0].owner.holder() == 0, "a stopped queue has an owner");
}

/// Makes a port, and starts it after another has put a queue off: $3 is "rx" or "tx".
void start_deferred_port(const arguments& given)
{
    const auto shared = join(given);
    auto port = shared->create_port("deferred", "null", {.rx_pool = "plain"});
    port.stop();
    test::say("ready");
    static_cast<void>(test::hear());
    port.start();
    const bool is_rx = given[2] == "rx";
    const auto& queue = is_rx ? port.layout().rx[0] : port.layout().tx[0];
    require(queue.deferred.load() != 0, "nobody has put the queue off");
    std::array<mbuf*, 4> packets{};
    const auto moved = is_rx ? port.rx_burst(0, packets) : port.tx_burst(0, {});
    require(moved == 0 && queue.owner.holder() == 0, "a deferred queue is used");
    require(shared->destroy_port("deferred"), "the port is gone already");
}

/// Puts that queue off until it is started itself.
void defer_queue(const arguments& given)
{
    const auto shared = join(given);
    auto port = shared->find_port("deferred").value();
    if (given[2] == "rx")
        port.set_up_rx(0, {.deferred = true});
    else
        port.set_up_tx(0, {.deferred = true});
}

/// Makes the port, and then does $3 with it: "claim", "set up", "stop", "stop queue" or "count".
/// Refused or not, it ends.
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
        else if (given[2] == "count")
            require(port.tx_stats().packets == 0, "what is there now is not counted");
        else if (given[2] == "stop queue")
            port.stop_tx(0);
        else
            port.stop();
    } catch (const error& refused) {
        require(refused.reason() == errc::invalid_argument, refused.what());
    }
}

namespace {

void wait_until_told()
{
    test::say("ready");
    static_cast<void>(test::hear());
}

/// Another value in each word, so that none is mistaken for a count of nothing.
std::uint64_t mark_at(std::size_t word)
{
    return (word + 1) * 0x9e3779b97f4a7c15u;
}

void use_as_memzone(domain& shared, const port_layout* place)
{
    auto* const words = reinterpret_cast<std::uint64_t*>(
        shared.reserve_memzone("reuse", sizeof(port_layout)).data());
    require(static_cast<const void*>(words) == place, "other memory is used");
    constexpr auto count = sizeof(port_layout) / sizeof *words;
    for (std::size_t i = 0; i != count; ++i)
        words[i] = mark_at(i);
    wait_until_told();
    for (std::size_t i = 0; i != count; ++i)
        require(words[i] == mark_at(i), "somebody has written there");
    shared.release_memzone("reuse");
}

void use_as_port(domain& shared, const port_layout* place)
{
    auto next = shared.create_port("next", "null:no-rx=1");
    const auto& layout = next.layout();
    require(&layout == place, "other memory is used");
    const auto phase = layout.phase.load();
    std::array<mbuf*, 4> packets{};
    require(shared.find_pktmbuf_pool("plain")->alloc_bulk(packets), "there are no packets");
    require(next.tx_burst(0, packets) == packets.size() && next.tx_stats().packets != 0,
            "it has not counted");
    require(next.release_tx(0), "its queue is not this member's");
    wait_until_told();
    require(layout.phase.load() == phase && next.is_started(), "somebody has stopped the port");
    require(layout.tx[0].owner.holder() == 0, "somebody has a queue of it");
    require(shared.destroy_port("next"), "the next port is gone already");
}

}  // namespace

/// $3: as a "memzone" or a "port".
void reuse_port_memory(const arguments& given)
{
    const auto shared = join(given);
    const auto* place = &shared->find_port("gone").value().layout();
    require(shared->destroy_port("gone"), "the port is gone already");
    if (given[2] == "port")
        use_as_port(*shared, place);
    else
        use_as_memzone(*shared, place);
}

}  // namespace cohort::fault_member
