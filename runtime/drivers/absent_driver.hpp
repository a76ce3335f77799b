#pragma once
// In the place of a driver that this build lacks.

#include "cohort/base/error.hpp"
#include "cohort/port/port_driver.hpp"

#include <memory>
#include <string_view>

#include <fmt/format.h>

namespace cohort::detail {

/// Why the driver is not there, what brings it, and what serves in its stead.
struct missing_part {
    std::string_view driver;
    std::string_view why;
    std::string_view remedy;
    std::string_view instead;
};

/// Makes no port, and says why and what to do.
class absent_driver final : public port_driver {
public:
    explicit absent_driver(const missing_part& missing) : missing_{missing} {}
    void create(port_layout&, const port_request&, port_host&) const override { throw_absent(); }
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout&, port_host&) const override
    {
        throw_absent();
    }
    void let_go(port_layout&, port_host&) const override { throw_absent(); }

private:
    [[noreturn]] void throw_absent() const
    {
        throw error{errc::not_found,
                    fmt::format("this build of cohort has no {}: {}; {} and build anew, or use {}",
                                missing_.driver, missing_.why, missing_.remedy, missing_.instead)};
    }

    missing_part missing_;
};

inline void register_absent(const missing_part& missing)
{
    register_port_driver(missing.driver, std::make_unique<absent_driver>(missing));
}

}  // namespace cohort::detail
