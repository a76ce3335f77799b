// What a port does in software between the driver and the caller.

#include "cohort/port/port_offload.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/packet/packet_type.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/packet/tx_prepare.hpp"
#include "cohort/packet/vlan.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port.hpp"

#include <algorithm>

namespace cohort {
namespace {

void work_on(mbuf& packet, port_offloads wanted, link_type link) noexcept
{
    if (packet.handles() > 1)
        return;  // others read it
    if (wanted.vlan_strip && link == link_type::ethernet)
        static_cast<void>(vlan_strip(packet));  // most have none
    if (wanted.packet_type && link == link_type::ethernet) {
        if ((packet.ol_flags & mbuf_flag::tx_l4_mask) == 0)
            set_packet_type(packet);
        else  // its lengths are of the headers that lack a checksum
            packet.packet_type = classify(packet).type;
    }
    if (wanted.flow_hash) {
        packet.hash.rss = flow_hash(parse(link, packet.bytes()), packet.bytes());
        packet.ol_flags |= mbuf_flag::rx_rss_hash;
    }
}

}  // namespace

void port::received_aside(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
{
    if (is_captured())
        record_rx(queue, packets);
    const auto wanted = offloads_now();
    if (wanted == port_offloads{})
        return;
    COHORT_FAULT_POINT("port.working");
    const auto link = rx_link_of(*layout_);
    for (auto* packet : packets)
        work_on(*packet, wanted, link);
}

std::size_t port::tx_aside(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
{
    if (packets.empty() || !offloads_now().tx_prepare)
        return tx_recorded(queue, packets);
    std::size_t done = 0;
    while (done != packets.size()) {
        const auto some = packets.subspan(done, std::min(packets.size() - done, max_port_burst));
        const auto ready = prepare_tx(some);
        const auto sent = tx_recorded(queue, some.first(ready.count));
        done += sent;
        if (sent != ready.count)
            break;
        if (!ready.why)
            continue;
        count_up(layout_->tx[queue].errors, 1);
        COHORT_FAULT_POINT("port.refusing");
        auto* refused = packets[done++];
        if (!cohort::find_fault(*refused, true))
            free(refused);  // what is not sound is left where it is
    }
    return done;
}

prepared port::prepare_tx(std::span<mbuf* const> packets) const noexcept
{
    prepared made;
    const bool there = saw([&] {
        const auto limits = frame_limits_of(*layout_);
        const bool by_device = follows_tx_flags(*layout_);
        for (auto* packet : packets) {
            made.why = by_device ? fault_for_device(*packet) : cohort::prepare_tx(*packet);
            if (!made.why && limits && !limits->allow(*packet))
                made.why = packet->pkt_len < ethernet_header_bytes
                               ? "it is shorter than an Ethernet header"
                               : "it is longer than the port's interface takes";
            if (made.why)
                return;
            ++made.count;
        }
    });
    return there ? made : prepared{.count = 0, .why = "the port has been destroyed"};
}

void port::set_offloads(port_offloads wanted)
{
    change_still([&] {
        layout_->offloads.store(wanted.pack(), std::memory_order_relaxed);  // a setting
    });
}

port_offloads port::offloads() const noexcept
{
    port_offloads now;
    return saw([&] { now = offloads_now(); }) ? now : port_offloads{};
}

}  // namespace cohort
