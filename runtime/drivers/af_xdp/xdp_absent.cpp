// In the place of the driver, in a build without libbpf.

#include "absent_driver.hpp"
#include "xdp_driver.hpp"

namespace cohort {

void register_af_xdp_driver()
{
    register_port_driver("af_xdp", std::make_unique<detail::absent_driver>(detail::missing_part{
                                       .driver = "af_xdp",
                                       .why = "libbpf was not there when it was made",
                                       .remedy = "install libbpf-dev",
                                       .instead = "af_packet"}));
}

}  // namespace cohort
