#include "cohort/base/error.hpp"

#include <cerrno>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

namespace cohort {
namespace {

class category final : public std::error_category {
public:
    const char* name() const noexcept override { return "cohort"; }

    std::string message(int value) const override
    {
        switch (static_cast<errc>(value)) {
        case errc::invalid_argument: return "invalid argument";
        case errc::no_such_domain: return "no such domain";
        case errc::domain_alive: return "domain has a live primary";
        case errc::wrong_owner: return "wrong owner of the rendezvous directory";
        case errc::layout_mismatch: return "layout mismatch";
        case errc::region_truncated: return "region truncated";
        case errc::region_garbage: return "not a cohort region";
        case errc::no_memory: return "not enough memory";
        case errc::no_hugepages: return "not enough hugepages";
        case errc::name_too_long: return "name too long";
        case errc::exists: return "name exists";
        case errc::no_space: return "table full";
        case errc::window_taken: return "window taken";
        case errc::timed_out: return "timed out";
        case errc::stalled: return "stalled behind a live holder";
        case errc::no_permission: return "no permission";
        case errc::bad_input: return "bad input";
        case errc::primary_lost: return "primary lost";
        case errc::system: return "system call failed";
        case errc::in_use: return "in use";
        case errc::not_attached: return "memory not attached";
        case errc::not_found: return "not found";
        }
        return "unknown cohort error";
    }
};

/// What mends the failures that have one usual cause; empty for the others.
std::string_view remedy_of(int number) noexcept
{
    switch (number) {
    case EMFILE: return "raise the limit of descriptors (ulimit -n)";
    case ENFILE: return "raise fs.file-max";
    case ENOSPC: return "free some space there";
    case ENOMEM: return "free memory, or raise the limit of this process (ulimit -v, memory.max)";
    case EACCES: return "run as a user that may, or change the mode";
    default: return {};
    }
}

}  // namespace

const std::error_category& cohort_category() noexcept
{
    static const category instance;
    return instance;
}

error::error(errc code, std::string sentence)
    : std::system_error{make_error_code(code)}
    , sentence_{std::move(sentence)}
{
}

std::string describe_errno(int number)
{
    const char* symbol = ::strerrorname_np(number);
    return fmt::format("{} ({})", ::strerrordesc_np(number) ? ::strerrordesc_np(number) : "?",
                       symbol ? symbol : "?");
}

std::string describe_thrown()
{
    try {
        throw;
    } catch (const std::exception& thrown) {
        return thrown.what();
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

void throw_errno(int number, const std::string& what)
{
    const auto code = number == EPERM || number == EACCES ? errc::no_permission : errc::system;
    const auto remedy = remedy_of(number);
    throw error{code, fmt::format("{}: {}{}{}", what, describe_errno(number),
                                  remedy.empty() ? "" : "; ", remedy)};
}

}  // namespace cohort
