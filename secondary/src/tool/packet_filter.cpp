#include "packet_filter.hpp"

#include "cohort/base/error.hpp"

#include <fmt/format.h>

#include <pcap/pcap.h>

namespace cohort::tool {

struct packet_filter::program {
    bpf_program code{};
    ~program() { ::pcap_freecode(&code); }
};

packet_filter::packet_filter(const std::string& text, link_type link)
{
    if (text.empty())
        return;
    // The library has a number of its own for raw IP.
    const auto known = link == link_type::raw ? link_type::dlt_raw : link;
    const std::unique_ptr<pcap_t, decltype(&::pcap_close)> handle{
        ::pcap_open_dead(static_cast<int>(known), max_capture_length), &::pcap_close};
    auto made = std::make_unique<program>();
    if (::pcap_compile(handle.get(), &made->code, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
        throw error{errc::invalid_argument,
                    fmt::format("cannot use the filter \"{}\": {}; pcap-filter(7) has the language",
                                text, ::pcap_geterr(handle.get()))};
    program_ = std::move(made);
}

packet_filter::~packet_filter() = default;

bool packet_filter::passes(const captured_packet& packet) const noexcept
{
    if (!program_)
        return true;
    pcap_pkthdr header{};
    header.caplen = static_cast<bpf_u_int32>(packet.bytes.size());
    header.len = packet.length;
    return ::pcap_offline_filter(&program_->code, &header,
                                 reinterpret_cast<const u_char*>(packet.bytes.data())) != 0;
}

}  // namespace cohort::tool
