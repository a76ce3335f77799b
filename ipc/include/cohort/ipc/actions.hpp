#pragma once
/// The action channel: named handlers in each member, and requests to them.
///
/// `on(name, handler)` puts an entry into the process's tail queue, guarded by a mutex; the names a
/// member offers stand in its slot of the region. A request is answered by each peer it goes to,
/// with one of the verdicts below; one dead or slow peer never spoils the answers of the others.
///
/// *Thread safety*: all calls from any thread, handlers included: a request made inside a handler
/// serves this member's own inbox while it waits.
/// *When a process dies here*: its requests are dropped, requests to it end with `died` as soon as
/// the kernel reports the death; the messages come back to their pool.

#include "cohort/ipc/message.hpp"
#include "cohort/ipc/peers.hpp"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/intrusive/list.hpp>

namespace cohort::ipc {

class actions;

/// A message as a handler sees it. Valid during the handler only.
class message {
public:
    [[nodiscard]] member_ref from() const noexcept { return layout_.sender(); }
    [[nodiscard]] std::string_view action() const noexcept { return layout_.action.view(); }
    [[nodiscard]] std::span<const std::byte> payload() const noexcept
    {
        return {layout_.payload(), layout_.payload_bytes};
    }
    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(layout_.payload()), layout_.payload_bytes};
    }
    [[nodiscard]] bool wants_reply() const noexcept
    {
        return layout_.kind == message_kind::request;
    }

    /// Answers a request, once. A request that its handler leaves unanswered is refused. Throws
    /// `errc::invalid_argument` above 64 KiB.
    void reply(std::span<const std::byte> payload);
    void reply(std::string_view text) { reply(std::as_bytes(std::span{text})); }

private:
    friend class actions;
    message(actions& channel, message_layout& layout) noexcept : channel_{channel}, layout_{layout}
    {
    }

    actions& channel_;
    message_layout& layout_;
    bool answered_ = false;
};

using action_handler = std::function<void(message&)>;

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
    std::vector<std::byte> payload;  ///< the reply, or the reason of a refusal

    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(payload.data()), payload.size()};
    }
};

class actions {
public:
    actions(domain& shared, peers& others);
    ~actions();
    actions(const actions&) = delete;
    actions& operator=(const actions&) = delete;

    /// Throws `exists` for a name that is registered here, `name_too_long`, `no_space` above 32.
    void on(std::string_view name, action_handler handler);
    /// False when the name is not registered. Waits for a running handler, unless called by it.
    bool off(std::string_view name);

    /// Delivers without reply. False when it could not be put into the peer's inbox.
    bool send(member_ref to, std::string_view name, std::string_view text = {});

    /// Asks one member, the primary, or all others at once, and waits for each until the timeout.
    [[nodiscard]] answer request(member_ref to, std::string_view name, std::string_view text = {},
                                 steady_clock::duration timeout = 1s);
    [[nodiscard]] std::vector<answer> request_all(std::string_view name, std::string_view text = {},
                                                  steady_clock::duration timeout = 1s);
    /// The live member of that name, or nothing.
    [[nodiscard]] std::optional<member_ref> find_member(std::string_view name) const noexcept;
    [[nodiscard]] std::optional<member_ref> find_primary() const noexcept;

    /// Handles everything in the inbox; called by the dispatcher. Returns how many messages.
    std::size_t serve();
    /// Ends what still waits for that member with `died`.
    void member_died(member_ref dead);

    [[nodiscard]] post_office& post() noexcept { return post_; }
    /// Replies that came after their request had ended.
    [[nodiscard]] std::uint64_t late_replies() const noexcept { return late_replies_; }

private:
    friend class message;
    struct entry : boost::intrusive::list_base_hook<> {
        std::string name;
        action_handler handler;
        std::size_t offer = 0;  ///< index in the member's offers
        int running = 0;
    };
    struct pending {
        std::vector<answer> answers;
        std::size_t open = 0;
        std::condition_variable changed;
    };

    [[nodiscard]] std::vector<answer> ask(std::vector<member_ref> to, std::string_view name,
                                          std::string_view text, steady_clock::duration timeout);
    post_office::delivery deliver(member_ref to, message_kind kind, std::uint64_t id,
                                  std::string_view name, std::span<const std::byte> payload);
    void run_handler(message_layout& layout);
    void settle(std::uint64_t id, member_ref peer, verdict what,
                std::span<const std::byte> payload);
    [[nodiscard]] entry* find(std::string_view name) noexcept;
    void offer(entry& added);

    domain& domain_;
    peers& peers_;
    post_office post_;

    std::mutex registry_mutex_;  ///< guards entries_ and what is in them
    boost::intrusive::list<entry> entries_;
    std::condition_variable handler_ended_;

    std::mutex pending_mutex_;  ///< guards pending_, next_id_, late_replies_
    std::map<std::uint64_t, std::shared_ptr<pending>> pending_;
    std::uint64_t next_id_ = 1;
    std::uint64_t late_replies_ = 0;

    std::recursive_mutex serving_;  ///< one thread reads the inbox; a handler may read on
};

}  // namespace cohort::ipc
