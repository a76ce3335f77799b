#pragma once
// What a call is refused with.

#include "cohort/base/error.hpp"

#include <stdexcept>
#include <string>

namespace cohort::test {

/// The reason, which comes with one sentence; errc{} when the call is not refused. May be asked by
/// several threads at once.
template <typename Call>
[[nodiscard]] errc refusal_of(Call&& call)
{
    try {
        call();
    } catch (const error& refused) {
        const std::string sentence = refused.what();
        if (sentence.find('\n') != std::string::npos)
            throw std::logic_error{"more than one sentence: " + sentence};
        return refused.reason();
    }
    return errc{};
}

}  // namespace cohort::test
