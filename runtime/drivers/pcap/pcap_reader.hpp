#pragma once
/// A capture file, read packet by packet through libpcap.
///
/// Nothing is shared: each process that reads a port has a reader of its own and finds its place
/// again by the number of packets read.
///
/// *Thread safety*: one thread at a time.
/// *When a process dies here*: nothing was written.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <pcap/pcap.h>

namespace cohort::detail {

struct captured_packet {
    std::span<const std::byte> bytes;  ///< valid until the next packet is read
    std::uint32_t wire_length = 0;
    std::uint64_t timestamp_ns = 0;
};

/// Of a capture that was opened with nanoseconds.
[[nodiscard]] captured_packet as_captured(const pcap_pkthdr& header, const u_char* bytes) noexcept;
/// LINKTYPE_ number, as parse() takes it.
[[nodiscard]] std::uint32_t link_type_of(pcap_t* capture) noexcept;

class capture_reader {
public:
    /// False with a reason in `failure()` when the file cannot be opened or is no capture.
    [[nodiscard]] bool open(const std::string& path) noexcept;
    [[nodiscard]] bool is_open() const noexcept { return capture_ != nullptr; }

    enum class outcome {
        packet,
        end,
        truncated,  ///< the file ends inside a record
        broken,     ///< `failure()` says why
    };
    [[nodiscard]] outcome next(captured_packet& packet) noexcept;

    [[nodiscard]] std::uint32_t link_type() const noexcept { return link_type_of(capture_.get()); }
    [[nodiscard]] std::uint32_t snap_length() const noexcept;
    [[nodiscard]] std::string failure() const;

private:
    struct closer {
        void operator()(pcap_t* capture) const noexcept { ::pcap_close(capture); }
    };

    static constexpr std::size_t buffer_bytes = std::size_t{256} * 1024;

    std::unique_ptr<char[]> buffer_;  // of the stream that `capture_` owns, so it must outlive it
    std::unique_ptr<pcap_t, closer> capture_;
    std::string failure_;  // of open
};

/// What is known of a capture after reading through it once.
struct capture_facts {
    std::uint32_t link_type = 0;
    std::uint32_t snap_length = 0;
    std::uint64_t packets = 0;
    bool truncated = false;
};

/// Throws `errc::bad_input` for what is no capture, cannot be read, or mixes link types.
[[nodiscard]] capture_facts examine_capture(const std::string& path);

}  // namespace cohort::detail
