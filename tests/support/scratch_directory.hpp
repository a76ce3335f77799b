#pragma once

// A directory of its own for one test, removed at scope exit. Its path is short, since a unix
// socket's path has room for 107 characters.

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

namespace cohort::test {

class scratch_directory {
public:
    scratch_directory()
    {
        std::string name = "/tmp/cohort-test.XXXXXX";
        if (::mkdtemp(name.data()) == nullptr)
            throw std::system_error{errno, std::generic_category(), "mkdtemp " + name};
        path_ = name;
    }

    ~scratch_directory()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

    /// What a child needs in its environment to keep its domains here.
    [[nodiscard]] std::string environment() const { return "COHORT_RUNTIME_DIR=" + path_.string(); }

private:
    std::filesystem::path path_;
};

/// A scratch directory that this process uses as well: COHORT_RUNTIME_DIR names it until scope
/// exit, and children inherit it.
class scratch_runtime_directory : public scratch_directory {
public:
    scratch_runtime_directory()
    {
        if (const char* before = std::getenv("COHORT_RUNTIME_DIR"))
            before_ = before;
        ::setenv("COHORT_RUNTIME_DIR", path().c_str(), 1);
    }

    ~scratch_runtime_directory()
    {
        if (before_)
            ::setenv("COHORT_RUNTIME_DIR", before_->c_str(), 1);
        else
            ::unsetenv("COHORT_RUNTIME_DIR");
    }

private:
    std::optional<std::string> before_;
};

}  // namespace cohort::test
