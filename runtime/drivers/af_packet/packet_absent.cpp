// In the place of the driver, in a build that leaves it out.

#include "absent_driver.hpp"
#include "af_packet_driver.hpp"

namespace cohort {

void register_af_packet_driver()
{
    detail::register_absent({.driver = "af_packet",
                             .why = "it was left out",
                             .remedy = "set -Daf_packet=true",
                             .instead = "pcap"});
}

}  // namespace cohort
