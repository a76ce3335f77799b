#include "cohort/domain/rendezvous.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cohort {
namespace {

std::string runtime_root()
{
    if (const char* chosen = std::getenv("COHORT_RUNTIME_DIR"); chosen && *chosen) {
        if (*chosen == '/')
            return chosen;
        throw error{errc::invalid_argument,
                    fmt::format("COHORT_RUNTIME_DIR is \"{}\", which is another directory in each "
                                "process; name an absolute path",
                                chosen)};
    }
    if (::geteuid() == 0)
        return "/run/cohort";
    if (const char* xdg = std::getenv("XDG_RUNTIME_DIR"); xdg && *xdg)
        return std::string{xdg} + "/cohort";
    return fmt::format("/tmp/cohort-{}", ::geteuid());
}

bool is_name_character(char c) noexcept
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

[[noreturn]] void throw_no_directory(const std::string& path, int error_number)
{
    const auto code =
        error_number == EACCES || error_number == EPERM ? errc::no_permission : errc::system;
    throw error{code, fmt::format("cannot make the directory {}: {}; set COHORT_RUNTIME_DIR to a "
                                  "directory that this process may write",
                                  path, describe_errno(error_number))};
}

void make_directory(const std::string& path)
{
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        throw_no_directory(path, errno);
}

/// The last primary of a name takes lock file and directory away.
[[noreturn]] void throw_ended(const std::string& path)
{
    throw error{errc::no_such_domain,
                fmt::format("{} does not exist any more, so its domain has ended; start a primary "
                            "with cohortd",
                            path)};
}

/// As `open_to` leaves a directory that is open to its group.
bool is_group_open(const struct stat& status) noexcept
{
    constexpr mode_t wanted = S_ISGID | S_IRWXG;
    return S_ISDIR(status.st_mode) && (status.st_mode & (wanted | S_IRWXO)) == wanted;
}

bool is_in_group(gid_t group) noexcept
{
    std::array<gid_t, 1024> others{};
    const int count = ::getgroups(static_cast<int>(others.size()), others.data());
    return group == ::getegid() || std::find(others.begin(), others.begin() + std::max(count, 0),
                                             group) != others.begin() + std::max(count, 0);
}

bool is_ours(const struct stat& status) noexcept
{
    return status.st_uid == ::geteuid() || (is_group_open(status) && is_in_group(status.st_gid));
}

void check_directory(const std::string& path)
{
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT)
            throw_ended(path);
        throw_errno(errno, fmt::format("cannot look at {}", path));
    }
    if (!S_ISDIR(status.st_mode))
        throw error{errc::wrong_owner, fmt::format("{} is not a directory; remove it", path)};
    if (!is_ours(status))
        throw error{errc::wrong_owner,
                    fmt::format("{} belongs to uid {} but this process runs as uid {}; set "
                                "COHORT_RUNTIME_DIR to a directory of your own{}",
                                path, status.st_uid, ::geteuid(),
                                is_group_open(status)
                                    ? fmt::format(", or join group {}", status.st_gid)
                                    : "")};
    if ((status.st_mode & 0022) != 0 && !is_group_open(status))
        throw error{errc::wrong_owner,
                    fmt::format("{} has mode {:04o} and is open to other writers; "
                                "chmod 0700 {}",
                                path, status.st_mode & 07777, path)};
}

/// A directory of COHORT_RUNTIME_DIR may be the one of whoever has opened the domain to our group:
/// the user has chosen it, and that one can replace the domain in any case.
bool is_chosen_from(const struct stat& root, const std::string& directory) noexcept
{
    struct stat status {};
    const char* chosen = std::getenv("COHORT_RUNTIME_DIR");
    return chosen && *chosen && ::lstat(directory.c_str(), &status) == 0 && is_ours(status) &&
           status.st_uid == root.st_uid;
}

/// Who may write to the root may put another directory in the place of ours.
void check_root(const std::string& path, const std::string& directory)
{
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0)
        throw_errno(errno, fmt::format("cannot look at {}", path));
    const bool trusted =
        status.st_uid == ::geteuid() || status.st_uid == 0 || is_chosen_from(status, directory);
    const bool open_to_others = (status.st_mode & 0022) != 0 && (status.st_mode & S_ISVTX) == 0;
    if (!trusted || open_to_others)
        throw error{errc::wrong_owner,
                    fmt::format("the runtime directory {} has uid {} and mode {:04o}, so others "
                                "could replace what is in it; set COHORT_RUNTIME_DIR to a "
                                "directory of your own",
                                path, status.st_uid, status.st_mode & 07777)};
}

struct flock byte_lock(short type, int byte) noexcept
{
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = byte;
    lock.l_len = 1;
    return lock;
}

}  // namespace

rendezvous::rendezvous(std::string_view domain_name)
    : name_{domain_name}
    , root_{runtime_root()}
    , directory_{root_ + "/" + name_}
{
    if (name_.size() > max_domain_name)
        throw error{errc::name_too_long,
                    fmt::format("the domain name \"{}\" has {} characters; at most {} fit", name_,
                                name_.size(), max_domain_name)};
    if (name_.empty() || name_.front() == '.' ||
        !std::all_of(name_.begin(), name_.end(), is_name_character))
        throw error{
            errc::invalid_argument,
            fmt::format("the domain name \"{}\" must be made of letters, digits, '.', '_' and "
                        "'-' and must not start with '.'",
                        name_)};
}

std::string rendezvous::member_socket(member_id member) const
{
    return fmt::format("{}/member-{}.sock", directory_, member);
}

void rendezvous::create() const
{
    for (auto slash = root_.find('/', 1); slash != std::string::npos;
         slash = root_.find('/', slash + 1))
        if (::mkdir(root_.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS)
            throw_no_directory(root_.substr(0, slash), errno);
    make_directory(root_);
    make_directory(directory_);
    check();
}

bool rendezvous::exists() const noexcept
{
    struct stat status {};
    // Whoever may not look does not know: `check` then says so.
    return ::lstat(directory_.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

void rendezvous::check() const
{
    check_root(root_, directory_);
    check_directory(directory_);
}

std::optional<unsigned> rendezvous::group() const noexcept
{
    struct stat status {};
    return ::lstat(directory_.c_str(), &status) == 0 && is_group_open(status)
               ? std::optional<unsigned>{status.st_gid}
               : std::nullopt;
}

void rendezvous::open_to(std::optional<unsigned> group, const lock_description& lock) const
{
    struct stat status {};
    if (::lstat(directory_.c_str(), &status) != 0)
        throw_ended(directory_);
    const bool stands = this->group() == group;
    if (!stands && status.st_uid != ::geteuid())
        throw error{errc::wrong_owner,
                    fmt::format("{} belongs to uid {}, who alone can open it to another group or "
                                "to none; start with --group {}",
                                directory_, status.st_uid, status.st_gid)};
    // The modes open last and close first: a kill between leaves the domain to its owner.
    if (!group) {
        if (!stands && ::chmod(directory_.c_str(), 0700) != 0)
            throw_errno(errno, fmt::format("cannot close {} to its group", directory_));
        COHORT_FAULT_POINT("rendezvous.closed");
        if (lock.group() && ::fchmod(lock.fd(), 0600) != 0)
            throw_errno(errno, fmt::format("cannot close {} to its group", lock_file()));
        return;
    }
    const auto refuse_unless = [&](bool done) {
        if (!done)
            throw error{errno == EPERM ? errc::no_permission : errc::system,
                        fmt::format("cannot open {} to group {}: {}; name a group that this "
                                    "process is in",
                                    directory_, *group, describe_errno(errno))};
    };
    if (lock.group() != group)
        refuse_unless(::fchown(lock.fd(), unsigned(-1), *group) == 0 &&
                      ::fchmod(lock.fd(), 0660) == 0);
    COHORT_FAULT_POINT("rendezvous.lock_opened");
    if (!stands) {
        refuse_unless(::lchown(directory_.c_str(), unsigned(-1), *group) == 0);
        COHORT_FAULT_POINT("rendezvous.given");
        refuse_unless(::chmod(directory_.c_str(), 02770) == 0);
    }
    COHORT_FAULT_POINT("rendezvous.opened");
    if (struct stat root{}; ::stat(root_.c_str(), &root) == 0 && (root.st_mode & 0055) != 0055)
        refuse_unless(::chmod(root_.c_str(), (root.st_mode & 07777) | 0055) == 0);
}

lock_description::lock_description(const std::string& path, open_mode mode)
    : file_{::open(path.c_str(),
                   O_RDWR | O_CLOEXEC | O_NOFOLLOW | (mode == open_mode::create ? O_CREAT : 0),
                   0600)}
{
    if (!file_ && errno == ENOENT)
        throw_ended(path);
    struct stat status {};
    if (file_ ? ::fstat(file_.get(), &status) == 0 && !S_ISREG(status.st_mode)
              : errno == EISDIR || errno == ELOOP || errno == ENXIO)
        throw error{errc::wrong_owner,
                    fmt::format("the lock file {} is no regular file; remove it", path)};
    if (!file_)
        throw_errno(errno, fmt::format("cannot open the lock file {}", path));
}

std::optional<unsigned> lock_description::group() const noexcept
{
    struct stat status {};
    return ::fstat(file_.get(), &status) == 0 && (status.st_mode & 0060) == 0060
               ? std::optional<unsigned>{status.st_gid}
               : std::nullopt;
}

bool lock_description::try_lock(int byte) const
{
    auto lock = byte_lock(F_WRLCK, byte);
    if (::fcntl(file_.get(), F_OFD_SETLK, &lock) == 0)
        return true;
    if (errno == EAGAIN || errno == EACCES)
        return false;
    throw_errno(errno, fmt::format("cannot lock byte {} of the lock file", byte));
}

void lock_description::share(int byte) const
{
    auto lock = byte_lock(F_RDLCK, byte);
    if (::fcntl(file_.get(), F_OFD_SETLK, &lock) != 0)
        throw_errno(errno, fmt::format("cannot share byte {} of the lock file", byte));
}

void lock_description::unlock(int byte) const noexcept
{
    auto lock = byte_lock(F_UNLCK, byte);
    ::fcntl(file_.get(), F_OFD_SETLK, &lock);
}

bool lock_description::is_locked(int byte) const noexcept
{
    auto lock = byte_lock(F_WRLCK, byte);
    return ::fcntl(file_.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool lock_description::is_at(const std::string& path) const noexcept
{
    struct stat ours {};
    struct stat there {};
    return ::fstat(file_.get(), &ours) == 0 && ::stat(path.c_str(), &there) == 0 &&
           ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
}

void lock_description::write_place(const region_place& place, int pid) const
{
    const auto text = fmt::format("window={:#014x} bytes={} region={} pid={}\n", place.window_base,
                                  place.window_bytes, place.region_bytes, pid);
    if (::ftruncate(file_.get(), 0) != 0 ||
        ::pwrite(file_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
        throw_errno(errno, "cannot write the lock file");
}

std::optional<lock_description::record> lock_description::read_place() const
{
    std::array<char, 256> text{};
    record found;
    if (::pread(file_.get(), text.data(), text.size() - 1, 0) > 0 &&
        std::sscanf(text.data(), "window=%lx bytes=%zu region=%zu pid=%d", &found.place.window_base,
                    &found.place.window_bytes, &found.place.region_bytes, &found.pid) == 4)
        return found;
    return std::nullopt;
}

}  // namespace cohort
