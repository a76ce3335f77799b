#include "foreign_files.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace cohort::primary {
namespace {

struct file_identity {
    dev_t device = 0;
    ino_t inode = 0;

    [[nodiscard]] bool operator==(const file_identity&) const = default;
};

std::optional<file_identity> mapped_at(int pid, std::uintptr_t address)
{
    std::ifstream maps{fmt::format("/proc/{}/maps", pid)};
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t from = 0;
        unsigned major = 0;
        unsigned minor = 0;
        unsigned long inode = 0;
        if (std::sscanf(line.c_str(), "%lx-%*x %*s %*x %x:%x %lu", &from, &major, &minor, &inode) ==
                4 &&
            from == address && inode != 0)
            return file_identity{::makedev(major, minor), inode};
    }
    return std::nullopt;
}

/// Only regular files: opening anything else could do something.
bool is_file(const struct stat& status, const file_identity& wanted)
{
    return S_ISREG(status.st_mode) && file_identity{status.st_dev, status.st_ino} == wanted;
}

}  // namespace

file_descriptor open_mapped_file(int pid, std::uintptr_t address)
{
    const auto wanted = mapped_at(pid, address);
    if (!wanted)
        return {};
    std::error_code failed;  // the process may end at any moment
    std::filesystem::directory_iterator entry{fmt::format("/proc/{}/fd", pid), failed};
    for (; !failed && entry != std::filesystem::directory_iterator{}; entry.increment(failed)) {
        struct stat status {};
        if (::stat(entry->path().c_str(), &status) != 0 || !is_file(status, *wanted))
            continue;
        file_descriptor opened{::open(entry->path().c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK)};
        // The number may have been given to another file meanwhile.
        if (opened && ::fstat(opened.get(), &status) == 0 && is_file(status, *wanted))
            return opened;
    }
    return {};
}

}  // namespace cohort::primary
