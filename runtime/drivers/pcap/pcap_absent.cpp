// In the place of the driver, in a build without libpcap.

#include "absent_driver.hpp"
#include "pcap_driver.hpp"

namespace cohort {

void register_pcap_driver()
{
    register_port_driver("pcap", std::make_unique<detail::absent_driver>(detail::missing_part{
                                     .driver = "pcap",
                                     .why = "libpcap was not there when it was made",
                                     .remedy = "install libpcap-dev",
                                     .instead = "af_packet for an interface"}));
}

}  // namespace cohort
