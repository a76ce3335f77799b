#include "stage.hpp"

#include "cohort/base/cache_line.hpp"
#include "cohort/base/error.hpp"

#include <csignal>
#include <thread>

#include <fmt/format.h>

namespace pipeline {
namespace {

std::atomic<bool> stop{false};

extern "C" void request_stop(int)
{
    stop.store(true, std::memory_order_relaxed);  // a flag, orders nothing
}

[[noreturn]] void missing(cohort::domain& domain, const std::string& what)
{
    throw cohort::error{
        cohort::errc::no_such_domain,
        fmt::format("domain \"{}\" has no {}; run `pipeline setup` first", domain.name(), what)};
}

}  // namespace

bool stop_requested() noexcept
{
    return stop.load(std::memory_order_relaxed);  // a flag, orders nothing
}

void stop_on_signals() noexcept
{
    std::signal(SIGTERM, &request_stop);
    std::signal(SIGINT, &request_stop);
}

progress& find_progress(cohort::domain& domain)
{
    const auto zone = domain.find_memzone(progress_name);
    if (zone.size() < sizeof(progress))
        missing(domain, fmt::format("memzone \"{}\"", progress_name));
    return *reinterpret_cast<progress*>(zone.data());
}

packet_ring find_packet_ring(cohort::domain& domain, const std::string& name)
{
    auto found = domain.find_ring<cohort::mbuf*>(name);
    if (!found)
        missing(domain, fmt::format("ring \"{}\"", name));
    return *found;
}

cohort::port find_capture_port(cohort::domain& domain)
{
    auto found = domain.find_port(port_name);
    if (!found)
        missing(domain, fmt::format("port \"{}\"", port_name));
    return std::move(*found);
}

void patience::wait(const char* what_for)
{
    constexpr unsigned spins = 64;
    constexpr unsigned yields = 256;
    const auto round = idle_rounds_++;
    if (round < spins) {
        cohort::cpu_relax();
    } else if (round < yields) {
        std::this_thread::yield();
    } else {
        if (round == yields)
            until_ = cohort::deadline_in(limit_);
        if (cohort::steady_clock::now() >= until_)
            throw cohort::error{
                cohort::errc::timed_out,
                fmt::format("nothing has moved for {} ms while waiting for {}; look "
                            "with `cohort ps` who is missing",
                            limit_.count(), what_for)};
        std::this_thread::sleep_for(std::chrono::microseconds{50});
    }
}

bool hand_on(packet_ring& target, std::span<cohort::mbuf* const> packets, patience& waiting,
             const char* what_for)
{
    while (!packets.empty()) {
        const auto done = target.enqueue_burst(packets);
        packets = packets.subspan(done);
        if (done != 0)
            waiting.progress();
        else if (stop_requested())
            return false;
        else
            waiting.wait(what_for);
    }
    return true;
}

}  // namespace pipeline
