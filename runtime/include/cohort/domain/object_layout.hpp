#pragma once
/// What stands in front of a typed object: the type it was created as.
///
/// A type is known by its mangled name, which all compilers of one ABI agree on, its size and its
/// alignment. So a program that was built with another version of a type is refused unless the two
/// have equal size; a change that keeps the size is for the users' own version member to tell.

#include "cohort/base/cache_line.hpp"
#include "cohort/base/fixed_name.hpp"
#include "cohort/base/shared_type.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <typeinfo>

namespace cohort {

struct object_type {
    std::string_view mangled;
    std::uint32_t bytes = 0;
    std::uint32_t alignment = 0;

    template <typename T>
    [[nodiscard]] static object_type of() noexcept
    {
        return {typeid(T).name(), sizeof(T), alignof(T)};
    }
    /// Where the object begins, counted from the header.
    [[nodiscard]] std::size_t offset() const noexcept
    {
        return std::max<std::size_t>(alignment, cache_line_bytes);
    }
};

/// As people write it, or the name itself when it is cut or no compiler's.
[[nodiscard]] std::string readable_type(std::string_view mangled);

/// Written before the entry is LIVE, and never again.
struct object_layout {
    std::uint64_t type_hash = 0;  ///< of the whole mangled name
    std::uint32_t bytes = 0;
    std::uint32_t alignment = 0;
    fixed_name<48> type;  ///< the mangled name, cut: for messages
};
static_assert(shared_layout<object_layout> && sizeof(object_layout) == cache_line_bytes);

}  // namespace cohort
