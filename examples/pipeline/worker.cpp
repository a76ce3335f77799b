#include "cohort/base/error.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/packet/ttl.hpp"
#include "cohort/port/drivers.hpp"
#include "flow_table.hpp"
#include "stages.hpp"

#include <thread>

#include <fmt/format.h>

#include <unistd.h>

namespace pipeline {
namespace {

/// The counters of one burst, added to the shared ones after it was handed on.
struct burst_counts {
    std::uint64_t packets = 0, lowered = 0, redelivered = 0, redone = 0;
    std::uint64_t ipv4 = 0, ipv6 = 0, not_ip = 0, tcp = 0, udp = 0, icmp = 0, vlan = 0;

    void note(const cohort::parsed_packet& packet) noexcept
    {
        ++packets;
        ipv4 += packet.l3 == cohort::l3_kind::ipv4;
        ipv6 += packet.l3 == cohort::l3_kind::ipv6;
        not_ip += packet.l3 == cohort::l3_kind::none;
        tcp += packet.l4 == cohort::l4_kind::tcp;
        udp += packet.l4 == cohort::l4_kind::udp;
        icmp += packet.l4 == cohort::l4_kind::icmp || packet.l4 == cohort::l4_kind::icmpv6;
        vlan += packet.vlan_count != 0;
    }

    void add_to(worker_counts& shared) const noexcept
    {
        add(shared.packets, packets);
        add(shared.lowered, lowered);
        add(shared.redelivered, redelivered);
        add(shared.redone, redone);
        add(shared.ipv4, ipv4);
        add(shared.ipv6, ipv6);
        add(shared.not_ip, not_ip);
        add(shared.tcp, tcp);
        add(shared.udp, udp);
        add(shared.icmp, icmp);
        add(shared.vlan, vlan);
    }
};

class worker {
public:
    worker(cohort::domain& domain, const stage_options& options, unsigned index,
           std::chrono::microseconds linger)
        : progress_{find_progress(domain)}
        , own_{find_packet_ring(domain, to_worker_name(index))}
        , redelivered_{find_packet_ring(domain, redelivered_name)}
        , to_writer_{find_packet_ring(domain, to_writer_name)}
        , link_{cohort::rx_link_of(find_capture_port(domain).layout())}
        , waiting_{options.patience}
        , linger_{linger}
    {
        refuse_second_worker(domain, options, index);
        slot_ = &take_slot(domain.self(), index);
        slot_->index = index;
        slot_->pid = ::getpid();
        slot_->name = cohort::fixed_name<64>{options.name};
    }

    void run()
    {
        while (!stop_requested()) {
            // Both each time: under load the own ring is never empty.
            const bool fresh = take(own_, false);
            const bool again = take(redelivered_, true);
            if (fresh || again)
                waiting_.progress();
            else if (progress_.done.load(std::memory_order_acquire) != 0)
                return;
            else
                waiting_.wait("packets of the reader");
        }
    }

private:
    void refuse_second_worker(cohort::domain& domain, const stage_options& options, unsigned index)
    {
        const auto lane = own_.layout().consumer.load().lane;
        if (lane != 0 && !domain.members().liveness().is_dead(lane))
            throw cohort::error{cohort::errc::exists,
                                fmt::format("worker {} is alive already, on lane {}; give \"{}\" "
                                            "another --index",
                                            index, lane, options.name)};
    }

    /// A slot of its own; when all are taken, the last one, which then counts for several
    /// processes.
    worker_slot& take_slot(cohort::member_ref self, unsigned index)
    {
        const auto me = std::uint64_t{self.id} << 32 | self.generation;
        for (auto& slot : progress_.slots) {
            std::uint64_t nobody = 0;
            if (slot.member.compare_exchange_strong(nobody, me))
                return slot;
        }
        auto& shared = progress_.slots[max_worker_processes - 1 - index];
        shared.member.store(me);
        return shared;
    }

    bool take(packet_ring& from, bool from_the_dead)
    {
        std::array<cohort::mbuf*, burst> packets;
        const auto count = from.dequeue_burst(packets);
        if (count != 0)
            forward(std::span{packets}.first(count), from_the_dead);
        return count != 0;
    }

    void forward(std::span<cohort::mbuf* const> packets, bool from_the_dead)
    {
        burst_counts counts;
        for (auto* packet : packets)
            process(*packet, counts);
        if (linger_.count() != 0)
            std::this_thread::sleep_for(linger_);
        counts.redelivered = from_the_dead ? counts.packets : 0;
        if (!hand_on(to_writer_, packets, waiting_, "room in the writer's ring"))
            return;
        counts.add_to(slot_->counts);
        slot_->counts.flows.store(flows_.count(), std::memory_order_relaxed);  // for display
    }

    /// Lowers the TTL exactly once, however often the packet comes by: what is to be written is
    /// noted in the packet first, and the note of a worker that died is carried out, not made anew.
    void process(cohort::mbuf& packet, burst_counts& counts)
    {
        const auto bytes = packet.bytes();  // the headers lie in the first segment
        const auto parsed = cohort::parse(link_, bytes);
        counts.redone += cohort::ttl_note::unpack(packet.redo).is_from(forward_stage);
        const auto note = cohort::lower_ttl_once(packet.redo, parsed, bytes, forward_stage);
        counts.lowered += note.change != cohort::ttl_change::none;
        counts.note(parsed);
        if (parsed.l3 != cohort::l3_kind::none)
            flows_.note(cohort::flow_key_of(parsed, bytes).bidirectional());
    }

    progress& progress_;
    packet_ring own_;
    packet_ring redelivered_;
    packet_ring to_writer_;
    cohort::link_type link_;
    patience waiting_;
    std::chrono::microseconds linger_;
    worker_slot* slot_ = nullptr;
    flow_table flows_;
};

}  // namespace

int run_worker(const stage_options& options, unsigned index, std::chrono::microseconds linger)
{
    using namespace std::chrono_literals;
    const auto domain = cohort::secondary::attach(options.domain, 5s, options.name);
    worker{*domain, options, index, linger}.run();
    return 0;
}

}  // namespace pipeline
