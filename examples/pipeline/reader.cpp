#include "cohort/packet/parse.hpp"
#include "cohort/port/drivers.hpp"
#include "stages.hpp"

#include <vector>

namespace pipeline {
namespace {

/// Packets of one burst on their way to one worker.
struct lane_to_worker {
    packet_ring ring;
    std::array<cohort::mbuf*, burst> packets{};
    std::size_t count = 0;
};

class reader {
public:
    reader(cohort::domain& domain, const stage_options& options)
        : progress_{find_progress(domain)}
        , port_{find_capture_port(domain)}
        , link_{cohort::rx_link_of(port_.layout())}
        , waiting_{options.patience}
    {
        for (unsigned i = 0; i != progress_.workers; ++i)
            workers_.push_back({find_packet_ring(domain, to_worker_name(i))});
    }

    void run()
    {
        std::array<cohort::mbuf*, burst> packets;
        while (!stop_requested() && !port_.rx_ended(0)) {
            const auto count = port_.rx_burst(0, packets);
            if (count == 0) {
                waiting_.wait("buffers of the pool, or the rx queue");
                continue;
            }
            note_start();
            if (!spread(std::span{packets}.first(count)))
                return;
        }
    }

private:
    void note_start() noexcept
    {
        std::uint64_t unset = 0;
        if (progress_.first_rx_ns.load(std::memory_order_relaxed) == 0)  // for display
            progress_.first_rx_ns.compare_exchange_strong(unset, cohort::monotonic_ns());
    }

    bool spread(std::span<cohort::mbuf* const> packets)
    {
        for (auto* packet : packets) {
            const auto headers = packet->bytes();  // they lie in the first segment
            packet->hash.rss = cohort::flow_hash(cohort::parse(link_, headers), headers);
            auto& worker = workers_[packet->hash.rss % workers_.size()];
            worker.packets[worker.count++] = packet;
        }
        for (auto& worker : workers_) {
            const auto mine = std::span{worker.packets}.first(std::exchange(worker.count, 0));
            if (!hand_on(worker.ring, mine, waiting_, "room in a worker's ring"))
                return false;
        }
        return true;
    }

    progress& progress_;
    cohort::port port_;
    cohort::link_type link_;
    patience waiting_;
    std::vector<lane_to_worker> workers_;
};

}  // namespace

int run_reader(const stage_options& options)
{
    using namespace std::chrono_literals;
    const auto domain = cohort::secondary::attach(options.domain, 5s, options.name);
    reader{*domain, options}.run();
    return 0;
}

}  // namespace pipeline
