// In the place of the filter, in a build without libpcap.

#include "cohort/base/error.hpp"
#include "packet_filter.hpp"

namespace cohort::tool {

struct packet_filter::program {};

packet_filter::packet_filter(const std::string& text, link_type)
{
    if (!text.empty())
        throw error{errc::not_found,
                    "this build of cohort has no capture filters: libpcap was not there when it "
                    "was made; install libpcap-dev and build anew, or pipe the capture into a "
                    "program that filters: cohort capture PORT --write - | tshark -r -"};
}

packet_filter::~packet_filter() = default;

bool packet_filter::passes(const captured_packet&) const noexcept
{
    return true;
}

}  // namespace cohort::tool
