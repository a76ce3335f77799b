// The rendezvous directory: whether it can be made and used, and whose it is.

#include "cohort/base/error.hpp"
#include "cohort/domain/rendezvous.hpp"
#include "doctor.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

namespace cohort::tool {
namespace {

/// `path`, or the nearest directory above it that exists.
std::string nearest(std::filesystem::path path)
{
    struct stat status {};
    while (path.has_relative_path() && ::stat(path.c_str(), &status) != 0 && errno == ENOENT)
        path = path.parent_path();
    return path.string();
}

std::optional<finding> cannot_make(const std::string& domain)
{
    const rendezvous place{domain};
    const auto above = nearest(place.root());
    if (::access(above.c_str(), W_OK | X_OK) == 0)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("{} cannot be written: {}", above, describe_errno(errno)),
                   fmt::format("no domain can be started under {}", place.root()),
                   "set COHORT_RUNTIME_DIR to a directory that this user may write"};
}

/// Whether the domain is open to a group of this process.
bool is_admitted(const rendezvous& place)
{
    if (!place.group())
        return false;
    try {
        place.check();
        return true;
    } catch (const error&) {
        return false;
    }
}

std::optional<finding> foreign_root(const std::string& domain)
{
    const rendezvous place{domain};
    struct stat status {};
    if (::stat(place.root().c_str(), &status) != 0 || status.st_uid == ::geteuid() ||
        status.st_uid == 0 || is_admitted(place))
        return std::nullopt;
    return finding{gravity::fault, fmt::format("{} belongs to uid {}", place.root(), status.st_uid),
                   "that user could replace what is in it, so cohort refuses it",
                   "set COHORT_RUNTIME_DIR to a directory of your own"};
}

std::optional<finding> open_root(const std::string& domain)
{
    const rendezvous place{domain};
    struct stat status {};
    if (::stat(place.root().c_str(), &status) != 0 || (status.st_mode & 0022) == 0 ||
        (status.st_mode & S_ISVTX) != 0)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("{} has mode {:04o}", place.root(), status.st_mode & 07777),
                   "others could replace what is in it, so cohort refuses it",
                   fmt::format("chmod 0700 {}", place.root())};
}

std::optional<finding> foreign_domain(const std::string& domain)
{
    const rendezvous place{domain};
    struct stat status {};
    if (::lstat(place.directory().c_str(), &status) != 0 || status.st_uid == ::geteuid() ||
        is_admitted(place))
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("{} belongs to uid {}, this is uid {}", place.directory(),
                               status.st_uid, ::geteuid()),
                   fmt::format("domain \"{}\" is another user's", domain),
                   "run as that user, or set COHORT_RUNTIME_DIR to a directory of your own"};
}

std::optional<finding> open_domain(const std::string& domain)
{
    const rendezvous place{domain};
    struct stat status {};
    if (::lstat(place.directory().c_str(), &status) != 0 || (status.st_mode & 0022) == 0 ||
        place.group())
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("{} has mode {:04o}", place.directory(), status.st_mode & 07777),
                   "others could replace the sockets in it, so cohort refuses it",
                   fmt::format("chmod 0700 {}", place.directory())};
}

std::optional<finding> no_directory(const std::string& domain)
{
    const rendezvous place{domain};
    struct stat status {};
    if (::lstat(place.directory().c_str(), &status) != 0 || S_ISDIR(status.st_mode))
        return std::nullopt;
    return finding{gravity::fault, fmt::format("{} is not a directory", place.directory()),
                   fmt::format("domain \"{}\" cannot be started", domain),
                   fmt::format("rm {}", place.directory())};
}

std::optional<finding> long_path(const std::string& domain)
{
    const auto path = rendezvous{domain}.member_socket(63);
    if (path.size() < sizeof sockaddr_un{}.sun_path)
        return std::nullopt;
    return finding{gravity::fault,
                   fmt::format("the path {} has {} characters; sockets allow {}", path, path.size(),
                               sizeof sockaddr_un{}.sun_path - 1),
                   "members cannot listen there", "set COHORT_RUNTIME_DIR to a shorter path"};
}

std::optional<finding> full_place(const std::string& domain)
{
    const auto above = nearest(rendezvous{domain}.root());
    struct statvfs status {};
    if (::statvfs(above.c_str(), &status) != 0)
        return std::nullopt;
    const bool no_bytes = status.f_blocks != 0 && status.f_bavail == 0;
    const bool no_inodes = status.f_files != 0 && status.f_favail == 0;
    if (!no_bytes && !no_inodes)
        return std::nullopt;
    return finding{
        gravity::fault,
        fmt::format("the file system of {} has no free {}", above, no_bytes ? "blocks" : "inodes"),
        "sockets and lock file cannot be made there", "remove files there"};
}

std::optional<finding> elsewhere(const std::string& domain)
{
    const rendezvous here{domain};
    if (here.exists())
        return std::nullopt;
    std::vector<std::string> roots{"/run/cohort", fmt::format("/tmp/cohort-{}", ::geteuid())};
    if (const char* xdg = std::getenv("XDG_RUNTIME_DIR"); xdg && *xdg)
        roots.push_back(std::string{xdg} + "/cohort");
    for (const auto& root : roots) {
        const auto directory = root + "/" + domain;
        if (root == here.root() || ::access(directory.c_str(), F_OK) != 0)
            continue;
        return finding{
            gravity::weakness,
            fmt::format("domain \"{}\" is not under {} but under {}", domain, here.root(), root),
            "programs with this environment do not find it",
            fmt::format("set COHORT_RUNTIME_DIR={} for all of its processes", root)};
    }
    return std::nullopt;
}

}  // namespace

std::vector<check> place_checks()
{
    return {{"no-runtime-directory", cannot_make},
            {"foreign-root", foreign_root},
            {"open-root", open_root},
            {"foreign-domain", foreign_domain},
            {"open-domain", open_domain},
            {"no-directory", no_directory},
            {"long-path", long_path},
            {"full-place", full_place},
            {"domain-elsewhere", elsewhere}};
}

}  // namespace cohort::tool
