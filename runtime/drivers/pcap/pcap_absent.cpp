// In the place of the driver, in a build without libpcap.

#include "absent_driver.hpp"
#include "pcap_driver.hpp"

namespace cohort {

void register_pcap_driver()
{
    detail::register_absent({.driver = "pcap",
                             .why = "libpcap was not there when it was made",
                             .remedy = "install libpcap-dev",
                             .instead = "af_packet for an interface"});
}

}  // namespace cohort
