#include "report.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>
#include <cstdio>
#include <system_error>

#include <fmt/format.h>

namespace cohort::tool {

int report(const std::function<int()>& print)
{
    int reason = 0;
    try {
        const int code = print();
        if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0)
            return code;
        reason = errno;
    } catch (const std::system_error& failure) {
        if (std::ferror(stdout) == 0)
            throw;
        reason = failure.code().value();  // fmt::print, of more than a buffer
    }
    throw error{errc::system, fmt::format("cannot write the report to standard output: {}",
                                          describe_errno(reason))};
}

}  // namespace cohort::tool
