#pragma once

#include <sched.h>

namespace cohort::test {

/// Keeps this thread, and the threads and processes it starts meanwhile, on the first processor it
/// may use.
class one_processor {
public:
    one_processor()
    {
        ::sched_getaffinity(0, sizeof before_, &before_);
        cpu_set_t first{};
        for (int cpu = 0; CPU_COUNT(&first) == 0; ++cpu)
            if (CPU_ISSET(cpu, &before_))
                CPU_SET(cpu, &first);
        ::sched_setaffinity(0, sizeof first, &first);
    }
    ~one_processor() { ::sched_setaffinity(0, sizeof before_, &before_); }
    one_processor(const one_processor&) = delete;
    one_processor& operator=(const one_processor&) = delete;

private:
    cpu_set_t before_{};
};

}  // namespace cohort::test
