#include "handover.hpp"

#include "cohort/base/error.hpp"

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::tool {

void become_successor(const std::string& domain, const std::vector<std::string>& options)
{
    std::vector<std::string> words{"cohortd", "--domain", domain, "--hand-over"};
    words.insert(words.end(), options.begin(), options.end());
    std::vector<char*> arguments;
    for (auto& word : words)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);

    std::error_code unreadable;
    const auto own = std::filesystem::read_symlink("/proc/self/exe", unreadable);
    if (!unreadable)
        ::execv((own.parent_path() / "cohortd").c_str(), arguments.data());
    ::execvp("cohortd", arguments.data());
    throw error{errc::system,
                fmt::format("cannot run cohortd: {}; put it beside cohort or into a directory of "
                            "$PATH",
                            describe_errno(errno))};
}

}  // namespace cohort::tool
