#include "cohort/base/error.hpp"
#include "cohort/port/port.hpp"
#include "stages.hpp"

#include <new>

#include <fmt/format.h>

namespace pipeline {

int set_up(const setup_options& options)
{
    using namespace std::chrono_literals;
    if (options.workers == 0 || options.workers > max_workers)
        throw cohort::error{cohort::errc::invalid_argument,
                            fmt::format("{} workers are asked for; 1 to {} are possible",
                                        options.workers, max_workers)};
    const auto domain = cohort::secondary::attach(options.domain, 5s, "setup");

    // What workers and writer had taken from a ring when they died goes to the other workers.
    domain->create_pktmbuf_pool(pool_name, {.count = pool_count,
                                            .policy = cohort::recovery_policy::redeliver,
                                            .redeliver_to = redelivered_name});
    constexpr auto single = cohort::ring_mode::single;
    for (unsigned i = 0; i != options.workers; ++i)
        domain->create_ring<cohort::mbuf*>(to_worker_name(i), to_worker_capacity,
                                           {.producers = single, .consumers = single});
    domain->create_ring<cohort::mbuf*>(redelivered_name, redelivered_capacity);
    domain->create_ring<cohort::mbuf*>(to_writer_name, to_writer_capacity, {.consumers = single});

    const auto spec = fmt::format("pcap:rx={},tx={},loops={}", cohort::escape_option(options.input),
                                  cohort::escape_option(options.output), options.loops);
    domain->create_port(port_name, spec, {.rx_pool = pool_name});

    const auto zone = domain->reserve_memzone(progress_name, sizeof(progress));
    auto& shared = *::new (zone.data()) progress{};
    shared.workers = options.workers;
    return 0;
}

}  // namespace pipeline
