#pragma once
// What `cohort capture --filter` lets pass.

#include "cohort/packet/parse.hpp"
#include "packet_source.hpp"

#include <memory>
#include <string>

namespace cohort::tool {

/// A filter in the language of pcap-filter(7), compiled for one link type. Empty lets all pass.
class packet_filter {
public:
    /// Throws `invalid_argument` for what is no filter, `not_found` in a build without libpcap.
    packet_filter(const std::string& text, link_type link);
    ~packet_filter();
    packet_filter(const packet_filter&) = delete;
    packet_filter& operator=(const packet_filter&) = delete;

    [[nodiscard]] bool passes(const captured_packet& packet) const noexcept;

private:
    struct program;
    std::unique_ptr<program> program_;  // nullptr lets all pass
};

}  // namespace cohort::tool
