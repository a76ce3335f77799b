#pragma once
// What a call is refused with.

#include "cohort/base/error.hpp"

#include <string_view>

#include <catch2/catch.hpp>

namespace cohort::test {

/// The reason, which comes with one sentence; errc{} when the call is not refused.
template <typename Call>
[[nodiscard]] errc refusal_of(Call&& call)
{
    try {
        call();
    } catch (const error& refused) {
        INFO(refused.what());
        CHECK(std::string_view{refused.what()}.find('\n') == std::string_view::npos);
        return refused.reason();
    }
    return errc{};
}

}  // namespace cohort::test
