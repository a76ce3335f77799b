#include "cohort/base/error.hpp"
#include "stages.hpp"

#include <fmt/format.h>

namespace pipeline {
namespace {

class writer {
public:
    writer(cohort::domain& domain, const stage_options& options)
        : progress_{find_progress(domain)}
        , from_workers_{find_packet_ring(domain, to_writer_name)}
        , port_{find_capture_port(domain)}
        , waiting_{options.patience}
    {
    }

    void run()
    {
        // Claims the queue at once: a burst that a dead writer left half-way is counted then.
        static_cast<void>(port_.tx_burst(0, {}));
        std::array<cohort::mbuf*, burst> packets;
        while (!stop_requested()) {
            if (const auto count = from_workers_.dequeue_burst(packets); count != 0) {
                write(std::span{packets}.first(count));
                continue;
            }
            if (everything_is_written()) {
                progress_.done.store(1, std::memory_order_release);  // after the last packet
                return;
            }
            waiting_.wait("packets of the workers");
        }
    }

private:
    void write(std::span<cohort::mbuf* const> packets)
    {
        waiting_.progress();
        while (!packets.empty()) {
            const auto accepted = port_.tx_burst(0, packets);
            packets = packets.subspan(accepted);
            if (accepted == 0)
                refuse_to_lose();
            progress_.last_tx_ns.store(cohort::monotonic_ns(),
                                       std::memory_order_relaxed);  // for display
        }
    }

    /// tx has taken nothing. What is still in hand goes to the workers again when this process
    /// leaves.
    void refuse_to_lose()
    {
        const auto& queue = port_.layout().tx[0];
        if (const auto reason = queue.last_errno.load(std::memory_order_relaxed); reason != 0)
            throw cohort::error{cohort::errc::no_space,
                                fmt::format("cannot write the output: {}; mend that and start the "
                                            "writer again",
                                            cohort::describe_errno(reason))};
        waiting_.wait("the tx queue, which another lane has");
    }

    /// Both counters are the port's own: exact, and not lost with any process.
    [[nodiscard]] bool everything_is_written() const noexcept
    {
        const auto& port = port_.layout();
        return port_.rx_ended(0) && port.tx[0].packets.load(std::memory_order_acquire) ==
                                        port.rx[0].packets.load(std::memory_order_acquire);
    }

    progress& progress_;
    packet_ring from_workers_;
    cohort::port port_;
    patience waiting_;
};

}  // namespace

int run_writer(const stage_options& options)
{
    using namespace std::chrono_literals;
    const auto domain = cohort::secondary::attach(options.domain, 5s, options.name);
    writer{*domain, options}.run();
    return 0;
}

}  // namespace pipeline
