#pragma once
/// Requests under way: who was asked, what each has answered, and who waits for it.
///
/// Ids count up for the life of a member and are never used again, so a late reply finds nothing,
/// or its own request, and never a newer one.
///
/// *Thread safety*: all calls of `request_book` from any thread; an `async_request` by one thread
/// at a time.
/// *When a process dies here*: its book is gone with it; replies to it go back to their pool. Peers
/// that die end with `verdict::died` in the books of those who asked them.

#include "cohort/base/clock.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "cohort/member/member_table.hpp"

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace cohort::ipc {

/// What became of a request at one peer.
enum class verdict {
    replied,
    refused,  ///< no such action there, the handler failed, or the inbox is full; see `text`
    timed_out,
    died,
};
[[nodiscard]] std::string_view to_text(verdict what) noexcept;

struct answer {
    member_ref peer;
    verdict what = verdict::timed_out;
    std::vector<std::byte> payload;      ///< the reply, or the reason of a refusal
    std::vector<file_descriptor> fds{};  ///< that came with the reply, close-on-exec

    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(payload.data()), payload.size()};
    }
};

using answers = std::vector<answer>;
/// Called once, in the thread that serves the inbox, when all peers have answered or the deadline
/// has passed.
using answers_handler = std::function<void(answers)>;

class request_book {
public:
    /// Enters a request to `peers`, before anything is sent: a death seen from now on finds it.
    [[nodiscard]] std::uint64_t open(std::span<const member_ref> peers, deadline until,
                                     answers_handler then = {});
    /// The first verdict of a peer counts. False when nothing waits for it: late, or not asked.
    bool settle(std::uint64_t id, member_ref peer, verdict what, std::span<const std::byte> payload,
                std::vector<file_descriptor> fds = {});
    /// Ends what still waits for that member with `died`.
    void member_died(member_ref dead);
    /// The request is forgotten and its callback will not be called. False when it has ended: then
    /// the callback has been called or will be.
    bool cancel(std::uint64_t id);
    /// Ends everything, and everything that comes later, as refused: the member leaves.
    void close();
    /// Nothing need be sent for a request that is opened from now on.
    [[nodiscard]] bool is_closed() const noexcept
    {
        return closed_.load(std::memory_order_relaxed);  // a hint: answers to it come too late
    }

    [[nodiscard]] bool is_done(std::uint64_t id) const;
    /// Waits for the end of a request without a callback, at most until then.
    void wait(std::uint64_t id, deadline until) const;
    /// The answers there are, at most once; what has not come is `timed_out`.
    [[nodiscard]] answers take(std::uint64_t id);
    /// The same once all have answered, else nothing.
    [[nodiscard]] std::optional<answers> take_if_done(std::uint64_t id);

    /// Calls the callbacks of all requests that have ended by now. Those of requests that a
    /// callback opens are called by the next call: one that asks anew each time holds nobody up.
    std::size_t run_callbacks();
    /// Whether some request has a callback, which only who serves the inbox may call.
    [[nodiscard]] bool has_callbacks() const noexcept { return with_callback_ != 0; }
    /// When `run_callbacks` has something to do even if nothing comes.
    [[nodiscard]] deadline next_deadline() const;

    /// Replies that came after their request had ended, or that nobody had asked for.
    [[nodiscard]] std::uint64_t late_replies() const;
    [[nodiscard]] std::size_t open_requests() const;

private:
    struct entry {
        answers given;
        std::uint64_t open = 0;  ///< bit i: the peer of given[i] has no verdict yet
        deadline until;
        answers_handler then;
        mutable std::condition_variable changed;
    };

    static bool settle_locked(entry& asked, member_ref peer, verdict what,
                              std::span<const std::byte> payload,
                              std::vector<file_descriptor> fds = {});
    static void refuse_locked(entry& asked);

    using book = std::map<std::uint64_t, entry>;
    entry& enter(std::uint64_t id);
    answers_handler take_callback(entry& asked);
    answers remove(book::iterator at);

    mutable std::mutex mutex_;  ///< guards all below
    book entries_;
    book::node_type spare_;  ///< so that most requests allocate no entry
    std::uint64_t next_id_ = 1;
    std::uint64_t late_replies_ = 0;
    std::atomic<bool> closed_{false};            ///< written under the mutex
    std::atomic<std::size_t> with_callback_{0};  ///< entries; written under the mutex
};

/// A request that its maker has not waited for. One with a callback goes on when this is destroyed;
/// one without is cancelled.
class async_request {
public:
    /// What waits for a request that is open, and takes its answers.
    using awaiter = std::function<answers(std::uint64_t, deadline)>;

    async_request() = default;
    async_request(std::shared_ptr<request_book> book, std::uint64_t id, deadline until,
                  bool has_callback, awaiter await);
    async_request(async_request&&) = default;
    async_request& operator=(async_request&& other) noexcept;
    ~async_request();

    /// All peers have answered, or the deadline has passed.
    [[nodiscard]] bool is_done() const;
    /// Waits for that and returns the answers, in the order of the members; empty when they have
    /// been taken, by an earlier call or by the callback.
    [[nodiscard]] answers wait();
    /// False when the request has ended; else its callback is never called.
    bool cancel();

private:
    std::shared_ptr<request_book> book_;
    std::uint64_t id_ = 0;
    deadline until_;
    bool has_callback_ = false;
    awaiter await_;
};

}  // namespace cohort::ipc
