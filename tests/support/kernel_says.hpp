#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace cohort::test {

/// The number that "ip -d link show" prints behind `word` for an interface; -1 when there is none.
[[nodiscard]] inline int kernel_says(const std::string& interface, const std::string& word)
{
    auto* const output = ::popen(("ip -d -o link show " + interface).c_str(), "r");
    if (output == nullptr)
        return -1;
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), output));
    ::pclose(output);
    const auto at = text.find(' ' + word + ' ');
    return at == std::string::npos ? -1 : std::atoi(text.c_str() + at + word.size() + 2);
}

}  // namespace cohort::test
