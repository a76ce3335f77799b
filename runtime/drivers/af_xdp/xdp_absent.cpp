// In the place of the driver, in a build without libbpf.

#include "absent_driver.hpp"
#include "xdp_driver.hpp"

namespace cohort {

void register_af_xdp_driver()
{
    detail::register_absent({.driver = "af_xdp",
                             .why = "libbpf was not there when it was made",
                             .remedy = "install libbpf-dev",
                             .instead = "af_packet"});
}

}  // namespace cohort
