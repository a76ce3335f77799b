#pragma once
/// The end of a report on standard output.

#include <functional>

namespace cohort::tool {

/// What `print` returns. A report that did not reach its reader is a failure, whatever it says:
/// then `errc::system` is thrown.
int report(const std::function<int()>& print);

}  // namespace cohort::tool
