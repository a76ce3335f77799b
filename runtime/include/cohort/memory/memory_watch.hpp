#pragma once
/// What a process wants to hear, and to have a say in, about the growth of its domain. Its users
/// call `joined_domain::on_memory_event` and `domain::validate_growth`.
///
/// Nothing depends on it: pages that another member makes are usable without any call here.
///
/// *Thread safety*: registration by any thread; callbacks run in the thread that grew or gave back,
/// or, for other members' doings, in the dispatcher's.

#include "cohort/memory/page_size.hpp"

#include <functional>
#include <mutex>
#include <vector>

namespace cohort {

/// Pages have come, or are gone. Fixed layout, for it travels from member to member.
struct memory_event {
    enum class kind : std::uint32_t { grown = 1, given_back = 2 };

    kind what{};
    std::uint32_t list = 0;
    std::int32_t numa_node = 0;
    std::uint32_t by_member = 0;
    std::uint64_t address = 0;
    std::uint64_t bytes = 0;
    std::uint64_t page_bytes = 0;
};

/// A growth that is about to happen.
struct memory_growth {
    std::size_t list = 0;
    int numa_node = 0;
    std::uint64_t page_bytes = 0;
    std::uint64_t more = 0;   ///< bytes that will be made
    std::uint64_t after = 0;  ///< bytes that the list has then
};

class memory_watch {
public:
    using listener = std::function<void(const memory_event&)>;
    /// May this process grow the domain so? Called with the memory lock held: it must be quick and
    /// must not call the domain.
    using validator = std::function<bool(const memory_growth&)>;

    /// Called after each event, also of other members.
    void on_event(listener added);
    /// All of them must agree; else the growth fails with `errc::no_memory`.
    void validate(validator added);
    /// Takes all listeners and validators away.
    void clear();

    [[nodiscard]] bool allows(const memory_growth& growth) const;
    void tell(const memory_event& event) const;

private:
    mutable std::mutex mutex_;
    std::vector<listener> listeners_;
    std::vector<validator> validators_;
};

}  // namespace cohort
