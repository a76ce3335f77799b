// In the place of the driver, in a build without libbpf.

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "xdp_driver.hpp"

namespace cohort {
namespace {

[[noreturn]] void throw_absent()
{
    throw error{errc::not_found,
                "this build of cohort has no af_xdp: libbpf was not there when it was made; "
                "install libbpf-dev and build anew, or use af_packet"};
}

class absent_driver final : public port_driver {
public:
    void create(port_layout&, const port_request&, port_host&) const override { throw_absent(); }
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout&, port_host&) const override
    {
        throw_absent();
    }
};

}  // namespace

void register_af_xdp_driver()
{
    register_port_driver("af_xdp", std::make_unique<absent_driver>());
}

}  // namespace cohort
