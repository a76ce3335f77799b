// In the place of the driver, in a build that leaves it out.

#include "absent_driver.hpp"
#include "af_packet_driver.hpp"

namespace cohort {

void register_af_packet_driver()
{
    register_port_driver("af_packet", std::make_unique<detail::absent_driver>(
                                          detail::missing_part{.driver = "af_packet",
                                                               .why = "it was left out",
                                                               .remedy = "set -Daf_packet=true",
                                                               .instead = "pcap"}));
}

}  // namespace cohort
