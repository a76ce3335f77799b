#pragma once
// The drivers that can be tried on this machine, one after the other.

#include "support/scratch_network.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

inline std::string any_driver()
{
    static const std::vector<std::string> all = [] {
        std::vector<std::string> names{"null", "ring", "pcap"};
        if (scratch_network::possible())
            names.push_back("af_packet");
        if (scratch_network::tap_possible())
            names.push_back("tap");
        if (scratch_network::xdp_possible())
            names.push_back("af_xdp");
        return names;
    }();
    return GENERATE(from_range(all));
}

}  // namespace cohort::test
