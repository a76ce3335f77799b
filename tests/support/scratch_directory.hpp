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

/// An environment variable with another value until scope exit; children inherit it.
class scoped_variable {
public:
    scoped_variable(const char* name, const std::string& value) : name_{name}
    {
        if (const char* before = std::getenv(name))
            before_ = before;
        ::setenv(name, value.c_str(), 1);
    }
    ~scoped_variable()
    {
        if (before_)
            ::setenv(name_, before_->c_str(), 1);
        else
            ::unsetenv(name_);
    }
    scoped_variable(const scoped_variable&) = delete;
    scoped_variable& operator=(const scoped_variable&) = delete;

private:
    const char* name_;
    std::optional<std::string> before_;
};

/// A scratch directory that this process uses as well: until scope exit COHORT_RUNTIME_DIR names
/// it, for domains, and RUNTIME_DIRECTORY, for DPDK's telemetry.
class scratch_runtime_directory : public scratch_directory {
private:
    scoped_variable domains_{"COHORT_RUNTIME_DIR", path().string()};
    scoped_variable telemetry_{"RUNTIME_DIRECTORY", path().string()};
};

}  // namespace cohort::test
