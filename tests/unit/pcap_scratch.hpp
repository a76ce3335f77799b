#pragma once

// What the tests of the pcap port share: a domain with a pool, files in a scratch directory, and
// reading and forwarding until the end.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "support/capture_bytes.hpp"
#include "support/packet_bytes.hpp"
#include "support/scratch_directory.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

class pcap_scratch {
public:
    explicit pcap_scratch(const pktmbuf_options& pool = {.count = 1024, .cache_size = 32})
        : domain_{primary::start({.name = "pcap", .memory = 16_MiB, .huge = huge_policy::none})}
    {
        domain_->create_pktmbuf_pool("packets", pool);
    }

    [[nodiscard]] domain& operator*() const noexcept { return *domain_; }
    [[nodiscard]] domain* operator->() const noexcept { return domain_.get(); }

    port create(const std::string& options)
    {
        return domain_->create_port("file", "pcap:" + options, {.rx_pool = "packets"});
    }
    [[nodiscard]] errc refusal_of(const std::string& options)
    {
        try {
            domain_->create_port("refused", "pcap:" + options, {.rx_pool = "packets"});
        } catch (const error& refused) {
            return refused.reason();
        }
        return errc{};
    }
    [[nodiscard]] std::filesystem::path file(const std::string& name) const
    {
        return directory_.path() / name;
    }
    [[nodiscard]] std::size_t in_use() const
    {
        return domain_->find_pktmbuf_pool("packets")->objects().in_use();
    }

    /// A file with these bytes, and the option that reads it.
    [[nodiscard]] std::string reading(const capture_bytes& bytes) const
    {
        const auto path = file("in.pcap");
        std::ofstream{path, std::ios::binary} << bytes.text();
        return "rx=" + path.string();
    }

private:
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_;
};

inline std::string contents(const std::filesystem::path& path)
{
    std::ifstream file{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
}

/// What one packet looked like, after it was freed.
struct received {
    std::string payload;
    std::uint64_t timestamp = 0;
    std::uint32_t wire_length = 0;
    std::uint16_t segments = 0;
};

inline std::vector<received> receive_all(port& from, std::size_t most = 1'000'000)
{
    std::vector<received> all;
    std::array<mbuf*, 16> packets;
    while (all.size() < most && !from.rx_ended(0)) {
        const auto want = std::min(packets.size(), most - all.size());
        const auto count = from.rx_burst(0, std::span{packets}.first(want));
        for (auto* packet : std::span{packets}.first(count)) {
            CHECK(find_fault(*packet, true) == nullptr);
            CHECK(packet->port == from.layout().index);
            all.push_back({text_of(*packet), packet->timestamp, packet->wire_len, packet->nb_segs});
            free(packet);
        }
    }
    return all;
}

inline void forward_all(port& through)
{
    std::array<mbuf*, 64> packets;
    while (!through.rx_ended(0)) {
        auto burst = std::span<mbuf* const>{packets}.first(through.rx_burst(0, packets));
        while (!burst.empty())
            burst = burst.subspan(through.tx_burst(0, burst));
    }
}

/// The capture that comes with the sources, or nothing when the tests run away from them.
inline std::filesystem::path sample_capture()
{
    for (auto at = std::filesystem::read_symlink("/proc/self/exe"); at != at.root_path();
         at = at.parent_path())
        if (const auto found = at / "examples/captures/veth.pcap"; std::filesystem::exists(found))
            return found;
    return {};
}

inline bool is_refused_as_bad_input(pcap_scratch& scratch, const std::string& options)
{
    try {
        static_cast<void>(scratch.create(options));
    } catch (const error& refusal) {
        INFO(refusal.what());
        CHECK(std::string_view{refusal.what()}.find('\n') == std::string_view::npos);
        return refusal.reason() == errc::bad_input;
    }
    return false;
}

inline capture_bytes numbered(std::size_t packets)
{
    capture_bytes bytes = capture_bytes::pcap();
    for (std::size_t i = 0; i != packets; ++i)
        bytes.record(i, "packet " + std::to_string(i));
    return bytes;
}

}  // namespace cohort::test
