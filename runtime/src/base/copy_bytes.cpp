#include "cohort/base/copy_bytes.hpp"

#include "cohort/base/copy_by_32.hpp"

namespace cohort::detail {
namespace {

__attribute__((target("avx2"))) void copy_with_avx2(std::byte* to, const std::byte* from,
                                                    std::size_t n) noexcept
{
    copy_by_32(to, from, n);
}

void copy_with_library(std::byte* to, const std::byte* from, std::size_t n) noexcept
{
    std::memcpy(to, from, n);
}

}  // namespace

// Chosen before main; whoever copies earlier uses the library.
copy_function* copy_many = copy_with_library;

namespace {

[[maybe_unused]] const bool chosen = [] {
    if (__builtin_cpu_supports("avx2"))
        copy_many = copy_with_avx2;
    return true;
}();

}  // namespace
}  // namespace cohort::detail
