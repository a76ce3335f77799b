#pragma once

// A control group of its own for one test, with a limit of memory, removed at scope exit. Whether
// the machine lets us make one is for the test to ask:
//
//     const memory_cgroup group{64_MiB};
//     COHORT_SKIP_UNLESS(group.available(), group.missing());

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

namespace cohort::test {

class memory_cgroup {
public:
    explicit memory_cgroup(std::uint64_t limit)
    {
        const std::filesystem::path root{"/sys/fs/cgroup"};
        const auto own = own_version_1_group();
        available_ = make(root, "memory.max", limit) ||
                     (!own.empty() && make(root / "memory" / own, "memory.limit_in_bytes", limit));
    }

    // The group is busy until the kernel has let go of its processes.
    ~memory_cgroup()
    {
        for (int tries = 0; available_ && ::rmdir(group_.c_str()) != 0 && tries != 1000; ++tries)
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }

    memory_cgroup(const memory_cgroup&) = delete;
    memory_cgroup& operator=(const memory_cgroup&) = delete;

    [[nodiscard]] bool available() const noexcept { return available_; }

    /// What is missing, for COHORT_SKIP_UNLESS.
    [[nodiscard]] static std::string missing()
    {
        return "the right to make a memory control group under /sys/fs/cgroup";
    }

    /// The file that sets the limit.
    [[nodiscard]] std::string limit_file() const { return limit_file_; }

    /// Moves a process in; what it uses from now on counts.
    [[nodiscard]] bool take_in(pid_t pid) const
    {
        std::ofstream procs{group_ / "cgroup.procs"};
        procs << pid << std::flush;
        return procs.good();
    }

private:
    /// "a/b" of the line "4:memory:/a/b"; empty when there is none.
    static std::string own_version_1_group()
    {
        static const std::string mark = ":memory:/";
        std::ifstream groups{"/proc/self/cgroup"};
        for (std::string line; std::getline(groups, line);)
            if (const auto at = line.find(mark); at != std::string::npos)
                return line.substr(at + mark.size());
        return {};
    }

    bool make(const std::filesystem::path& parent, const char* limit_name, std::uint64_t limit)
    {
        group_ = parent / ("cohort-test-" + std::to_string(::getpid()));
        if (::mkdir(group_.c_str(), 0755) != 0)
            return false;
        limit_file_ = group_ / limit_name;
        std::ofstream file{limit_file_, std::ios::in};  // only a file that is there
        file << limit << std::flush;
        if (file.good())
            return true;
        ::rmdir(group_.c_str());
        return false;
    }

    bool available_ = false;
    std::filesystem::path group_;
    std::filesystem::path limit_file_;
};

}  // namespace cohort::test
