// A process that becomes the primary, in each way there is.

#include "cohort/primary/primary.hpp"
#include "fault_member.hpp"

#include <unistd.h>

namespace cohort::fault_member {

void start(const arguments& given)
{
    static_cast<void>(
        primary::start({.name = given[0], .memory = 8_MiB, .huge = huge_policy::none}));
}

void start_open(const arguments& given)
{
    static_cast<void>(primary::start(
        {.name = given[0], .memory = 8_MiB, .huge = huge_policy::none, .group = ::getegid()}));
}

void adopt(const arguments& given)
{
    static_cast<void>(primary::start({.name = given[0],
                                      .huge = huge_policy::none,
                                      .existing = primary::takeover::adopt,
                                      .patience = patience}));
}

void take_over(const arguments& given)
{
    static_cast<void>(primary::start({.name = given[0],
                                      .huge = huge_policy::none,
                                      .existing = primary::takeover::hand_over,
                                      .patience = patience}));
}

}  // namespace cohort::fault_member
