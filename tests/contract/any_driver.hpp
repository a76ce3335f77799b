#pragma once
// The drivers that can be tried on this machine, one after the other.

#include "support/scratch_network.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

inline std::vector<std::string> drivers_here()
{
    std::vector<std::string> names{"null", "ring", "pcap"};
    if (scratch_network::possible())
        names.push_back("af_packet");
    if (scratch_network::tap_possible())
        names.push_back("tap");
    if (scratch_network::xdp_possible())
        names.push_back("af_xdp");
    return names;
}

inline std::string any_driver()
{
    static const auto all = drivers_here();
    return GENERATE(from_range(all));
}

/// One whose queues may be empty: not null, which makes packets up.
inline std::string any_finite_driver()
{
    static const auto all = [] {
        auto names = drivers_here();
        std::erase(names, "null");
        return names;
    }();
    return GENERATE(from_range(all));
}

/// One whose queues get packets while the port lives: ring, and those of interfaces.
inline std::string any_live_driver()
{
    static const auto all = [] {
        auto names = drivers_here();
        std::erase_if(names, [](const auto& name) { return name == "null" || name == "pcap"; });
        return names;
    }();
    return GENERATE(from_range(all));
}

/// REQUIRES: scratch_network::possible().
inline std::string any_interface_driver()
{
    static const auto all = [] {
        auto names = drivers_here();
        std::erase_if(names, [](const auto& name) {
            return name == "null" || name == "pcap" || name == "ring";
        });
        return names;
    }();
    return GENERATE(from_range(all));
}

}  // namespace cohort::test
