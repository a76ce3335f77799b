// Any bytes as a capture file, and any text as the options of a port: it is read, or refused in one
// sentence, and every buffer comes back. Drivers that change the machine, and options that write
// files or name interfaces, are left out.
//
// The first input byte chooses the way, the rest is what comes.

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/packet_type.hpp"
#include "cohort/packet/tx_prepare.hpp"
#include "cohort/port/port_driver.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/recovery/audit.hpp"
#include "support/scratch_directory.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

namespace {

using namespace cohort;

void require(bool holds)
{
    if (!holds)
        std::abort();
}

class fuzzed_ports {
public:
    fuzzed_ports() { domain_->create_ring<mbuf*>("ring", 64); }

    void read_capture(std::string_view bytes, const std::string& options = {})
    {
        const auto path = (directory_.path() / "in.pcap").string();
        std::ofstream{path, std::ios::binary | std::ios::trunc} << bytes;
        with_port("pcap:rx=" + path + options);
    }
    void read_options(std::uint8_t way, std::string_view text)
    {
        const std::string options{text};
        require(option_value("key=" + escape_option(options), "key") == options);
        if (way % 3 == 0)
            with_port("null:" + options);
        else if (way % 3 == 1)
            with_port("ring:" + options);
        else if (options.find("tx") == std::string::npos &&
                 options.find("iface") == std::string::npos)
            read_capture(sound_capture(), "," + options);
    }
    void check()
    {
        require(pool_.objects().in_use() == 0);
        require(audit(domain_->mapping()).clean());
    }

private:
    /// Two packets, one of them shorter than it was.
    static std::string sound_capture()
    {
        std::string bytes("\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\0\0", 24);
        bytes += std::string("\x01\0\0\0\x02\0\0\0\x04\0\0\0\x04\0\0\0abcd", 20);
        return bytes + std::string("\x02\0\0\0\x02\0\0\0\x02\0\0\0\x09\0\0\0ab", 18);
    }

    void with_port(const std::string& spec)
    {
        try {
            auto port = domain_->create_port("port", spec, {.rx_pool = "packets"});
            for (int bursts = 0; bursts != 64; ++bursts)
                pass_on(port);
        } catch (const error& refused) {
            const std::string_view sentence{refused.what()};
            require(!sentence.empty() && (sentence.find('\n') == std::string_view::npos ||
                                          spec.find('\n') != std::string::npos));  // quoted
        }
        domain_->destroy_port("port");
    }

    static void pass_on(port& through)
    {
        std::array<mbuf*, 16> burst;
        const auto count = through.rx_burst(0, burst);
        for (auto* packet : std::span{burst}.first(count)) {
            packet->packet_type = classify(*packet, ~0u).type;
            static_cast<void>(verify_l4_checksum(*packet));
            static_cast<void>(prepare_tx(*packet));
        }
        free_bulk(std::span{burst}.first(count));
    }

    test::scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_{
        primary::start({.name = "fuzzed",
                        .memory = 16_MiB,
                        .huge = huge_policy::none,
                        .dispatch = ipc::dispatching::by_caller})};
    pktmbuf_pool pool_{domain_->create_pktmbuf_pool("packets", {.count = 512, .cache_size = 0})};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzzed_ports ports;
    set_log_level(log_level::off);
    if (size == 0)
        return 0;
    const std::string_view rest{reinterpret_cast<const char*>(data) + 1, size - 1};
    if (data[0] % 2 == 0)
        ports.read_capture(rest);
    else
        ports.read_options(data[0] / 2, rest);
    ports.check();
    return 0;
}
