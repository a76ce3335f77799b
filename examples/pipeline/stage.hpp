#pragma once
/// What all stages have in common: attaching, waiting with a deadline, and stopping on request.

#include "cohort/base/clock.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/secondary/secondary.hpp"
#include "pipeline_layout.hpp"

#include <array>
#include <chrono>
#include <span>
#include <string>

namespace pipeline {

struct stage_options {
    std::string domain = "default";
    std::string name;                            ///< of this member
    std::chrono::milliseconds patience{30'000};  ///< without any progress, a stage gives up
};

using packet_ring = cohort::ring<cohort::mbuf*>;

/// True once SIGTERM or SIGINT has come.
[[nodiscard]] bool stop_requested() noexcept;
void stop_on_signals() noexcept;

/// The objects that `setup` has made; they throw `errc::no_such_domain` with a remedy when missing.
[[nodiscard]] progress& find_progress(cohort::domain& domain);
[[nodiscard]] packet_ring find_packet_ring(cohort::domain& domain, const std::string& name);
[[nodiscard]] cohort::port find_capture_port(cohort::domain& domain);

/// Waiting for another process: first on the processor, then yielding it, then in short sleeps.
class patience {
public:
    explicit patience(std::chrono::milliseconds limit) noexcept : limit_{limit} {}

    void progress() noexcept { idle_rounds_ = 0; }
    /// Throws `errc::timed_out` saying what was waited for, once the limit has passed.
    void wait(const char* what_for);

private:
    std::chrono::milliseconds limit_;
    unsigned idle_rounds_ = 0;
    cohort::deadline until_{};
};

/// Puts all of `packets` into `target`; waits while it is full. False when asked to stop.
[[nodiscard]] bool hand_on(packet_ring& target, std::span<cohort::mbuf* const> packets,
                           patience& waiting, const char* what_for);

/// Adds to a counter of which this process is the only writer.
inline void add(std::atomic<std::uint64_t>& counter, std::uint64_t by) noexcept
{
    counter.store(counter.load(std::memory_order_relaxed) + by,
                  std::memory_order_relaxed);  // one writer
}

}  // namespace pipeline
