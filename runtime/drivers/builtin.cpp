#include "cohort/port/drivers.hpp"
#include "pcap/pcap_driver.hpp"

namespace cohort {

void register_builtin_drivers()
{
    static const bool once = [] {
        register_pcap_driver();
        return true;
    }();
    static_cast<void>(once);
}

}  // namespace cohort
