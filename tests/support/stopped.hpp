#pragma once

// Whether a process has come to its stop: SIGSTOP takes effect some time after kill has returned.

#include <fstream>
#include <iterator>
#include <string>

#include <sys/types.h>

namespace cohort::test {

[[nodiscard]] inline bool is_stopped(pid_t pid)
{
    std::ifstream file{"/proc/" + std::to_string(pid) + "/stat"};
    const std::string text{std::istreambuf_iterator<char>{file}, {}};
    const auto name_end = text.rfind(')');
    return name_end != std::string::npos && text.substr(name_end).starts_with(") T");
}

}  // namespace cohort::test
