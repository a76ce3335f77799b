// Ports of a driver that a build lacks.

#include "runtime/drivers/absent_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "support/scratch_directory.hpp"

#include <memory>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {

TEST_CASE("a driver that was left out of the build says what to install, and leaves nothing",
          "[port]")
{
    const scratch_runtime_directory directory;
    register_port_driver("left_out", std::make_unique<detail::absent_driver>(detail::missing_part{
                                         .driver = "left_out",
                                         .why = "libleft was not there when it was made",
                                         .remedy = "install libleft-dev",
                                         .instead = "null"}));
    const auto domain =
        primary::start({.name = "absent", .memory = 16_MiB, .huge = huge_policy::none});

    try {
        domain->create_port("wire", "left_out:iface=near");
        FAIL("a port without a driver");
    } catch (const error& refused) {
        CHECK(refused.reason() == errc::not_found);
        CHECK(std::string{refused.what()} ==
              "this build of cohort has no left_out: libleft was not there when it was made; "
              "install libleft-dev and build anew, or use null");
    }

    CHECK_FALSE(domain->find_port("wire"));
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 0});
    CHECK(domain->create_port("wire", "null", {.rx_pool = "packets"}).is_started());
}

}  // namespace cohort::test
