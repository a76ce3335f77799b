// In the place of the driver, in a build that leaves it out.

#include "absent_driver.hpp"
#include "tap_driver.hpp"

namespace cohort {

void register_tap_driver()
{
    detail::register_absent({.driver = "tap",
                             .why = "it was left out",
                             .remedy = "set -Dtap=true",
                             .instead = "af_packet for an interface that is there"});
}

}  // namespace cohort
