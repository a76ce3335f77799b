#pragma once
/// The two directions of a pcap port that end in files.
///
///   rx   position = packets of the file read so far, counted over all loops
///   tx   position = bytes of the file that count
///
/// Packets cross exactly once, also when the process at a queue is killed and another carries on:
/// see port/burst_journal.hpp.

#include "captured_rx.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "pcap_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace cohort::detail {

/// Words of the rx queue, port_queue_layout::aux, when it is paced: when the last packet went, in
/// ns of the steady clock, and the time stamp that it had.
namespace paced_word {
inline constexpr std::size_t went = 0;
inline constexpr std::size_t stamp = 1;
}  // namespace paced_word

class file_rx final : public captured_rx {
public:
    explicit file_rx(port_layout& port);

    [[nodiscard]] rx_outlook arm() noexcept override;
    [[nodiscard]] int descriptor() const noexcept override { return timer_.get(); }

private:
    [[nodiscard]] bool seek(std::uint64_t position) noexcept override;
    [[nodiscard]] bool fetch(std::uint64_t position, captured_packet& next) noexcept override;
    void pass(std::uint64_t position) noexcept override;
    void end_burst(std::uint64_t position) noexcept override;
    [[nodiscard]] std::uint64_t due(std::uint64_t position, const captured_packet& next) noexcept;

    std::string path_;
    std::uint64_t per_loop_;
    std::uint64_t end_;
    std::uint64_t gap_ns_;
    capture_reader reader_;
    captured_packet held_;  // read, and not due yet, when `holds_`
    bool holds_ = false;
    bool broken_ = false;
    file_descriptor timer_;  // where the queue is paced
};

class file_tx {
public:
    explicit file_tx(port_layout& port);

    [[nodiscard]] bool open() noexcept;
    std::size_t burst(std::span<mbuf* const> packets) noexcept;

private:
    [[nodiscard]] bool succeeded(int reason) noexcept;

    port_queue_layout& queue_;
    std::string path_;
    std::uint64_t mark_;
    capture_writer writer_;
};

}  // namespace cohort::detail
