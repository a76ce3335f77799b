#pragma once
/// What set-up calls throw, and the codes that programs test for.
///
/// The sentence of an error names the object, the actual and the wanted value and one remedy. The
/// hot path never throws: there, refusal is a count or a bool.

#include <string>
#include <system_error>

namespace cohort {

/// Reasons for which set-up is refused. The number is also the exit code of cohort's own programs,
/// so it never changes; 0, 1 (any other failure) and 2 (bad arguments) are taken.
enum class errc : int {
    invalid_argument = 2,   ///< a value outside its stated limits (EINVAL)
    no_such_domain = 10,    ///< nobody serves this name
    domain_alive = 11,      ///< a live primary already serves this name
    wrong_owner = 12,       ///< the rendezvous directory belongs to another user or is too open
    layout_mismatch = 13,   ///< built with another layout: sizes, offsets, features, C library
    region_truncated = 14,  ///< the region is smaller than its layout
    region_garbage = 15,    ///< what came as a region does not start as one
    no_memory = 16,         ///< not enough memory, hugepages or file space (ENOMEM)
    no_hugepages = 17,      ///< hugepages were required and the machine has too few
    name_too_long = 18,     ///< ENAMETOOLONG
    exists = 19,            ///< the name is taken (EEXIST)
    no_space = 20,          ///< a fixed table is full (ENOSPC)
    window_taken = 21,      ///< another mapping stands in the window
    timed_out = 22,         ///< a deadline passed
    stalled = 23,           ///< a live holder did not let go within the deadline
    no_permission = 24,     ///< the system refused for want of a right, or it is not the caller's
                            ///< to do (EPERM)
    bad_input = 25,         ///< a file or message is not what it should be
    primary_lost = 26,      ///< the primary died and the call needs one
    system = 27,            ///< a system call failed in a way that has no better name here
    in_use = 28,            ///< what should go away is still used (EBUSY)
    not_attached = 29,      ///< memory of the object is not mapped in this process
    not_found = 30,         ///< nothing there that answers the description (ENOENT)
};

[[nodiscard]] const std::error_category& cohort_category() noexcept;

[[nodiscard]] inline std::error_code make_error_code(errc code) noexcept
{
    return {static_cast<int>(code), cohort_category()};
}

/// Thrown by set-up calls. `what()` is exactly one sentence.
class error : public std::system_error {
public:
    error(errc code, std::string sentence);

    [[nodiscard]] errc reason() const noexcept { return static_cast<errc>(code().value()); }
    [[nodiscard]] const char* what() const noexcept override { return sentence_.c_str(); }

    /// What a program that ends because of this error returns to its caller.
    [[nodiscard]] int exit_code() const noexcept { return code().value(); }

private:
    std::string sentence_;
};

/// "Permission denied (EACCES)" for an errno value: the tail of sentences about system calls.
[[nodiscard]] std::string describe_errno(int number);

/// What the exception says that is being handled, of whatever type: users' handlers throw any.
[[nodiscard]] std::string describe_thrown();

/// Throws `errc::system` (or `no_permission` for EPERM and EACCES) with "`what`: reason", and a
/// remedy where the reason has a usual one.
[[noreturn]] void throw_errno(int number, const std::string& what);

}  // namespace cohort

template <>
struct std::is_error_code_enum<cohort::errc> : std::true_type {
};
