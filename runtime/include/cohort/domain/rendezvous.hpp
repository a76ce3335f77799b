#pragma once
/// Where the members of a domain meet: a directory with sockets and a lock file.
///
///   $COHORT_RUNTIME_DIR/<name>, else /run/cohort/<name> (root), else
///   $XDG_RUNTIME_DIR/cohort/<name>, else /tmp/cohort-<uid>/<name>
///
///   <name>/lock           byte 0       held by the primary
///                         byte 1       the domain's life: shared by descriptions that the
///                                      members hold; free when nobody is left
///                         byte 16 + n  held by member n
///                         text         the window, for primaries that look for a free one
///   <name>/primary.sock   where newcomers go
///   <name>/member-<n>.sock
///
/// The directory and the files in it are the only traces a domain leaves; the next start of the
/// same name removes what is stale.
///
/// The mode of the directory says who may take part. 0700: its owner. 2770: whoever is in its
/// group, and these trust each other as processes of one user do, for they write the same memory.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/domain/region_mapping.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace cohort {

inline constexpr std::size_t max_domain_name = 32;

class lock_description;

class rendezvous {
public:
    /// Throws for a name that is empty, too long, or not made of letters, digits, '.', '_' and '-'.
    explicit rendezvous(std::string_view domain_name);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& root() const noexcept { return root_; }
    [[nodiscard]] const std::string& directory() const noexcept { return directory_; }
    [[nodiscard]] std::string lock_file() const { return directory_ + "/lock"; }
    [[nodiscard]] std::string primary_socket() const { return directory_ + "/primary.sock"; }
    [[nodiscard]] std::string member_socket(member_id member) const;

    /// Makes root and directory where they are missing, mode 0700, and checks them. Throws
    /// `errc::no_such_domain` when a primary that ends takes the directory away meanwhile.
    void create() const;
    [[nodiscard]] bool exists() const noexcept;
    /// Throws `errc::wrong_owner` unless the directory is this user's and nobody else may write it,
    /// or is open to a group of this process; and `errc::no_such_domain` when it is gone.
    void check() const;

    /// The group that may take part; nothing when only the owner may.
    [[nodiscard]] std::optional<unsigned> group() const noexcept;
    /// Opens directory and lock file to that group, and lets all pass through the root; or closes
    /// directory and lock file to all but the owner. Only before there is a domain. Killed in it,
    /// the owner alone can use what is left, or the group already, and the next start goes on.
    /// Throws `no_permission` when the group is none of this process's, and `wrong_owner` when the
    /// directory is another user's and stands otherwise.
    void open_to(std::optional<unsigned> group, const lock_description& lock) const;

private:
    std::string name_;
    std::string root_;
    std::string directory_;
};

/// One open description of the lock file. Locks live as long as the description: in this process,
/// and in every process it is passed to.
class lock_description {
public:
    static constexpr int primary_byte = 0;
    static constexpr int life_byte = 1;
    static constexpr int member_byte(member_id member) { return 16 + member; }

    /// Opens the lock file; `create` makes it. Throws `errc::no_such_domain` when the file, or the
    /// directory to make it in, is gone.
    enum class open_mode { existing, create };
    lock_description(const std::string& path, open_mode mode);

    /// False when another description holds that byte.
    [[nodiscard]] bool try_lock(int byte) const;
    /// Locks that byte together with others who share it; what this description held alone it
    /// shares from now on. Throws when another description holds the byte alone.
    void share(int byte) const;
    void unlock(int byte) const noexcept;
    /// True when another description holds that byte.
    [[nodiscard]] bool is_locked(int byte) const noexcept;

    /// True when this is still the file at `path`.
    [[nodiscard]] bool is_at(const std::string& path) const noexcept;

    /// The group whose members may open the file; nothing when only its owner may.
    [[nodiscard]] std::optional<unsigned> group() const noexcept;

    void write_place(const region_place& place, int pid) const;
    struct record {
        region_place place;
        int pid = 0;
    };
    [[nodiscard]] std::optional<record> read_place() const;

    [[nodiscard]] int fd() const noexcept { return file_.get(); }
    [[nodiscard]] file_descriptor take() noexcept { return std::move(file_); }

private:
    file_descriptor file_;
};

}  // namespace cohort
