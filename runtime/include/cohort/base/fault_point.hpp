#pragma once
/// Named places where a test can kill or stop the process: `COHORT_FAULT_POINT("zone.init")`.
///
/// In a build with the option `fault_points` the process sends itself SIGKILL the n-th time it
/// passes the point named in $COHORT_FAULT ("name" or "name:n"), or SIGSTOP ("name:n:stop"). Two
/// such plans may be given, with a comma between. In any other build the macro is nothing at all;
/// no layout depends on it.

namespace cohort::detail {
void pass_fault_point(const char* name) noexcept;
}

#ifdef COHORT_FAULT_POINTS
#define COHORT_FAULT_POINT(name) ::cohort::detail::pass_fault_point(name)
#else
#define COHORT_FAULT_POINT(name) static_cast<void>(0)
#endif
