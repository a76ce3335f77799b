#include "af_packet/af_packet_driver.hpp"
#include "af_xdp/xdp_driver.hpp"
#include "cohort/port/drivers.hpp"
#include "null/null_driver.hpp"
#include "pcap/pcap_driver.hpp"
#include "ring/ring_driver.hpp"
#include "tap/tap_driver.hpp"

namespace cohort {

void register_builtin_drivers()
{
    static const bool once = [] {
        register_af_packet_driver();
        register_af_xdp_driver();
        register_null_driver();
        register_pcap_driver();
        register_ring_driver();
        register_tap_driver();
        return true;
    }();
    static_cast<void>(once);
}

}  // namespace cohort
