#include "pcap_reader.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include <sys/stat.h>

namespace cohort::detail {
namespace {

std::FILE* open_regular_file(const std::string& path, std::string& failure)
{
    std::FILE* file = std::fopen(path.c_str(), "rbe");
    if (!file) {
        failure = describe_errno(errno);
        return nullptr;
    }
    struct stat status {};
    if (::fstat(::fileno(file), &status) == 0 && S_ISREG(status.st_mode))
        return file;
    failure = "it is not a regular file";
    std::fclose(file);
    return nullptr;
}

}  // namespace

captured_packet as_captured(const pcap_pkthdr& header, const u_char* bytes) noexcept
{
    const auto seconds = static_cast<std::uint64_t>(header.ts.tv_sec);
    const auto nanoseconds = static_cast<std::uint64_t>(header.ts.tv_usec);  // as asked for
    return {.bytes = {reinterpret_cast<const std::byte*>(bytes), header.caplen},
            .wire_length = header.len,
            .timestamp_ns = seconds * 1'000'000'000u + nanoseconds};
}

/// libpcap answers in DLT_ numbers; files and parse() speak LINKTYPE_. These are the ones that
/// differ.
std::uint32_t link_type_of(pcap_t* capture) noexcept
{
    const int dlt = ::pcap_datalink(capture);
    switch (dlt) {
    case DLT_ATM_RFC1483: return 100;
    case DLT_RAW: return 101;
    case DLT_SLIP_BSDOS: return 102;
    case DLT_PPP_BSDOS: return 103;
    case DLT_ATM_CLIP: return 106;
    default: return static_cast<std::uint32_t>(dlt);
    }
}

bool capture_reader::open(const std::string& path) noexcept
try {
    capture_.reset();
    std::FILE* file = open_regular_file(path, failure_);
    if (!file)
        return false;
    if (!buffer_)
        buffer_ = std::make_unique<char[]>(buffer_bytes);
    std::setvbuf(file, buffer_.get(), _IOFBF, buffer_bytes);

    std::array<char, PCAP_ERRBUF_SIZE> reason{};
    capture_.reset(::pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO,
                                                              reason.data()));
    if (!capture_) {
        failure_ = reason.data();
        std::fclose(file);
    }
    return capture_ != nullptr;
} catch (const std::bad_alloc&) {
    return false;
}

capture_reader::outcome capture_reader::next(captured_packet& packet) noexcept
{
    pcap_pkthdr* header = nullptr;
    const u_char* bytes = nullptr;
    const int result = ::pcap_next_ex(capture_.get(), &header, &bytes);
    if (result == 1) {
        packet = as_captured(*header, bytes);
        return outcome::packet;
    }
    if (result == PCAP_ERROR_BREAK)
        return outcome::end;
    if (std::feof(::pcap_file(capture_.get())))
        return outcome::truncated;
    return outcome::broken;
}

std::string capture_reader::failure() const
{
    return capture_ ? ::pcap_geterr(capture_.get()) : failure_;
}

std::uint32_t capture_reader::snap_length() const noexcept
{
    return static_cast<std::uint32_t>(::pcap_snapshot(capture_.get()));
}

capture_facts examine_capture(const std::string& path)
{
    capture_reader reader;
    if (!reader.open(path))
        throw error{errc::bad_input,
                    fmt::format("cannot read \"{}\" as a capture: {}; name a pcap or pcapng file",
                                path, reader.failure())};
    capture_facts facts{.link_type = reader.link_type(), .snap_length = reader.snap_length()};
    captured_packet packet;
    for (;;) {
        switch (reader.next(packet)) {
        case capture_reader::outcome::packet: ++facts.packets; continue;
        case capture_reader::outcome::truncated: facts.truncated = true; return facts;
        case capture_reader::outcome::end: return facts;
        case capture_reader::outcome::broken:
            throw error{errc::bad_input,
                        fmt::format("cannot read \"{}\" beyond packet {}: {}; split the capture",
                                    path, facts.packets, reader.failure())};
        }
    }
}

}  // namespace cohort::detail
