#pragma once
/// The two directions of a pcap port that end at an interface, through libpcap.
///
///   rx   position = frames received; aux TAKEN = frames taken from libpcap
///   tx   position = frames sent, as frame_tx.hpp has it
///
/// libpcap cannot share what it opens: whoever owns the queue has a capture of its own, begun when
/// it became the owner, also of a port that was started anew, in the network namespace of its
/// thread and by its own rights. So frames that pass between two owners, and those that lay in the
/// capture of the one before, are not received; those that it had taken and not yet delivered count
/// as missed. One that is no owner any more keeps its capture until it is one again, or drops its
/// handle. Where no frame may be lost with its owner, use af_packet.

#include "captured_rx.hpp"
#include "cohort/base/clock.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "frame_tx.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <pcap/pcap.h>

namespace cohort::detail {

namespace live_word {
inline constexpr std::size_t taken = 0;     ///< rx: TAKEN
inline constexpr std::size_t openings = 1;  ///< rx: how often a member has begun to capture
}  // namespace live_word

struct live_settings {
    std::string interface {
    };
    std::uint64_t snap_length = 0;
    bool promiscuous = false;
    bool receives = false;  ///< else it only sends
};

/// An open capture of an interface.
class live_capture {
public:
    /// 0, or why not: an errno.
    [[nodiscard]] int open(const live_settings& wanted) noexcept;
    explicit operator bool() const noexcept { return capture_ != nullptr; }
    [[nodiscard]] pcap_t* get() const noexcept { return capture_.get(); }
    [[nodiscard]] int descriptor() const noexcept
    {
        return ::pcap_get_selectable_fd(capture_.get());
    }

private:
    struct closer {
        void operator()(pcap_t* capture) const noexcept { ::pcap_close(capture); }
    };
    std::unique_ptr<pcap_t, closer> capture_;
};

/// Opening takes the kernel milliseconds: where it was refused, it is not tried at each burst.
class reopening {
public:
    [[nodiscard]] bool is_due() const noexcept { return steady_clock::now() >= not_before_; }
    void put_off() noexcept { not_before_ = deadline_in(100ms); }

private:
    deadline not_before_{};
};

/// LINKTYPE_ number of the interface, which can be opened so. Throws `not_found`, `no_permission`,
/// or what the kernel says.
[[nodiscard]] std::uint32_t probe_interface(const live_settings& wanted);

class live_rx final : public captured_rx {
public:
    explicit live_rx(port_layout& port);

    [[nodiscard]] rx_outlook arm() noexcept override;
    [[nodiscard]] int descriptor() const noexcept override { return gate_.get(); }

private:
    [[nodiscard]] bool seek(std::uint64_t position) noexcept override;
    [[nodiscard]] bool fetch(std::uint64_t position, captured_packet& next) noexcept override;
    void end_burst(std::uint64_t position) noexcept override;
    void count_drops() noexcept;

    live_settings settings_;
    live_capture capture_;
    reopening reopens_;
    file_descriptor gate_;  // an epoll on whatever capture is open
    unsigned bursts_ = 0;
    std::uint64_t opening_ = 0;  // of `openings`: this capture
    std::uint64_t dropped_ = 0;  // by this capture, as counted so far
};

class live_tx final : public frame_tx {
public:
    explicit live_tx(port_layout& port);

    [[nodiscard]] bool open() noexcept;

private:
    [[nodiscard]] int give(const mbuf& packet) noexcept override;

    live_settings settings_;
    live_capture capture_;
    reopening reopens_;
};

}  // namespace cohort::detail
