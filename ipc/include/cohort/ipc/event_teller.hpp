#pragma once
/// Tells a member's listeners what happens in the domain, without holding anybody up.
///
/// *Thread safety*: any thread.
/// *When a process dies here*: nothing of it is shared.

#include "cohort/ipc/events.hpp"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cohort::ipc {

class event_teller {
public:
    /// `why` says how a process ended when nobody has noted it, or nothing.
    using reason_finder = std::function<std::string(member_ref dead)>;
    event_teller(const region_layout& region, reason_finder why)
        : region_{region}
        , why_{std::move(why)}
    {
    }
    /// REQUIRES: `stop` has been called if there is a thread.
    ~event_teller() = default;
    event_teller(const event_teller&) = delete;
    event_teller& operator=(const event_teller&) = delete;

    /// From the first listener on it is known what is new. With `own_thread` listeners are called
    /// by a thread that is made then, else by whoever calls `tell`; `last_words` by that thread at
    /// its end.
    void add(event_handler hears, bool own_thread, std::function<void()> last_words);
    /// How a process ended, see event_watch.
    void note_reason(member_ref dead, const std::string& reason);
    /// Something may have happened: looks, or has its thread look.
    void tell();
    /// Calls nobody any more; waits for a listener that is being called.
    void stop() noexcept;
    /// Events that came and went before a look found them, of all sources.
    [[nodiscard]] std::uint64_t lost() const;

private:
    void look_and_call();
    void run(const std::function<void()>& last_words) noexcept;

    [[nodiscard]] bool stops() const;

    const region_layout& region_;
    reason_finder why_;
    mutable std::mutex mutex_;  ///< guards all below
    std::condition_variable changed_;
    std::optional<event_watch> watch_;
    std::vector<event_handler> listeners_;
    bool is_due_ = false;
    bool stops_ = false;
    bool has_thread_ = false;
    std::thread thread_;  // made under the mutex, joined by `stop` alone
};

}  // namespace cohort::ipc
