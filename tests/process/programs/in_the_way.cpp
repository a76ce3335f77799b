// A module that stands in the way: loaded with LD_PRELOAD, it maps the range that
// $COHORT_TEST_MAP ("FROM:BYTES", hexadecimal) names.

#include <cstdio>
#include <cstdlib>

#include <sys/mman.h>

namespace {

[[gnu::constructor]] void stand_in_the_way()
{
    unsigned long from = 0;
    unsigned long bytes = 0;
    const char* range = std::getenv("COHORT_TEST_MAP");
    if (range && std::sscanf(range, "%lx:%lx", &from, &bytes) == 2)
        ::mmap(reinterpret_cast<void*>(from), bytes, PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
}

}  // namespace
