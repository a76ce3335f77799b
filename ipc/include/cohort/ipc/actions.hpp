#pragma once
/// The action channel: named handlers in each member, and requests to them.
///
/// `on(name, handler)` puts an entry into the process's tail queue, guarded by a mutex; the names a
/// member offers stand in its slot of the region. A request is answered by each peer it goes to,
/// with a verdict of its own; one dead or slow peer never spoils the answers of the others. Several
/// requests of one name may be under way. Payload may have up to 1 GiB, and 253 descriptors may go
/// with it; what is larger is refused at the sender.
///
/// *Thread safety*: all calls from any thread, handlers and callbacks included: who waits for an
/// answer inside a handler serves this member's own inbox meanwhile.
/// *When a process dies here*: its requests are dropped, requests to it end with `died` as soon as
/// the kernel reports the death; the messages come back to their pool.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/ipc/courier.hpp"
#include "cohort/ipc/requests.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/container/static_vector.hpp>
#include <boost/intrusive/list.hpp>

namespace cohort::ipc {

class actions;

/// A message as a handler sees it. Valid during the handler only.
class message {
public:
    /// {0, 0} for an observer.
    [[nodiscard]] member_ref from() const noexcept { return letter_.sender(); }
    [[nodiscard]] std::string_view action() const noexcept { return letter_.head.action.view(); }
    [[nodiscard]] std::span<const std::byte> payload() const noexcept { return letter_.payload(); }
    [[nodiscard]] std::string_view text() const noexcept
    {
        return {reinterpret_cast<const char*>(payload().data()), payload().size()};
    }
    [[nodiscard]] bool wants_reply() const noexcept
    {
        return letter_.head.kind == message_kind::request;
    }
    /// Descriptors that came along, close-on-exec; the handler may take them.
    [[nodiscard]] std::vector<file_descriptor>& fds() noexcept { return letter_.fds; }

    /// Answers a request, once. A request that its handler leaves unanswered is refused. Throws
    /// `errc::invalid_argument` above 1 GiB or 253 descriptors, and `no_memory`, `stalled` where
    /// the domain has no room for the payload.
    void reply(std::span<const std::byte> payload, std::span<const int> fds = {});
    void reply(std::string_view text, std::span<const int> fds = {})
    {
        reply(std::as_bytes(std::span{text}), fds);
    }

private:
    friend class actions;
    using responder = std::function<courier::receipt(const letter&)>;
    message(received_letter& arrived, const responder& respond) noexcept
        : letter_{arrived}
        , respond_{respond}
    {
    }

    received_letter& letter_;
    const responder& respond_;
    bool answered_ = false;
};

using action_handler = std::function<void(message&)>;

/// Whom a message goes to. Valid as long as the name in it.
struct target {
    enum class group {
        member,    ///< that one
        named,     ///< the live member of that name
        primary,   ///< the live primary
        all,       ///< every live member, this one too
        others,    ///< all but this one
        offering,  ///< every live member that offers the action, this one too
    };

    target(group some) noexcept : whom{some} {}
    target(member_ref one) noexcept : whom{group::member}, member{one} {}
    explicit target(std::string_view member_name) noexcept : whom{group::named}, name{member_name}
    {
    }

    /// More than one may be meant.
    [[nodiscard]] bool is_group() const noexcept { return whom >= group::all; }

    group whom;
    member_ref member;
    std::string_view name;
};

struct request_options {
    steady_clock::duration timeout = 1s;
    std::span<const int> fds{};  ///< go along; the caller keeps them
    answers_handler then{};      ///< asynchronous requests: called with the answers
};

class actions {
public:
    /// `own_wake` is the eventfd of whoever serves this member's inbox.
    actions(domain& shared, peers& others, const rendezvous& place, int own_wake);
    ~actions();
    actions(const actions&) = delete;
    actions& operator=(const actions&) = delete;

    /// Throws `exists` for a name that is registered here, `name_too_long`, `no_space` above 32.
    void on(std::string_view name, action_handler handler);
    /// False when the name is not registered. Waits for a running handler, unless called by one.
    bool off(std::string_view name);

    /// Delivers without reply. Into how many inboxes it could be put.
    std::size_t send(const target& to, std::string_view name, std::string_view text = {},
                     std::span<const int> fds = {});

    /// Asks one member and waits for its answer until the timeout.
    [[nodiscard]] answer request(const target& to, std::string_view name,
                                 std::string_view text = {}, steady_clock::duration timeout = 1s);
    /// Asks all other members at once, and waits for each until the timeout.
    [[nodiscard]] answers request_all(std::string_view name, std::string_view text = {},
                                      steady_clock::duration timeout = 1s);
    /// Asks all of `to` at once and does not wait. A target that names nobody alive, and not a
    /// group, has one answer: `died` for a member, else refused, by nobody.
    async_request request_async(const target& to, std::string_view name, std::string_view text = {},
                                request_options options = {});

    /// The live member of that name, or nothing.
    [[nodiscard]] std::optional<member_ref> find_member(std::string_view name) const noexcept;
    [[nodiscard]] std::optional<member_ref> find_primary() const noexcept;

    /// Handles what is in the inbox and calls the callbacks that are due; called by the dispatcher,
    /// whose descriptor becomes readable if much is left. Returns how many it were.
    std::size_t serve();
    /// Whether there is something for `serve` but callbacks.
    [[nodiscard]] bool has_messages() const noexcept
    {
        return !courier_.is_empty() || left_over_.load(std::memory_order_relaxed);  // a hint
    }
    /// When `serve` is to be called at the latest.
    [[nodiscard]] deadline next_deadline() const { return book_->next_deadline(); }
    /// Ends what still waits for that member with `died`.
    void member_died(member_ref dead) { book_->member_died(dead); }
    /// Handles a request that came otherwise than by the inbox; `respond` sends the answer.
    void handle_foreign(std::string_view name, std::uint64_t id, std::span<const std::byte> payload,
                        std::vector<file_descriptor> fds,
                        const std::function<courier::receipt(const letter&)>& respond);
    /// What answers requests for names that are not registered: nothing when it does not know them
    /// either.
    using unregistered_handler =
        std::function<std::optional<std::string>(std::string_view name, std::string_view text)>;
    void set_unregistered(unregistered_handler handler) { unregistered_ = std::move(handler); }
    /// Whoever waits for an answer, or asks from now on, is told that this member leaves.
    void end_requests();
    /// The same, and no message is handled any more.
    void close();

    /// Set by the dispatcher: what serves messages, sockets and deaths while a call waits that
    /// nobody else serves for, in a handler, or anywhere where there is no dispatcher's thread.
    enum class server { thread, caller };
    void set_pump(std::function<std::size_t()> serve_all, server who);
    /// The calling thread is the dispatcher's: when it asks, in whatever it has called, nobody else
    /// serves.
    void set_loop() noexcept
    {
        loop_.store(std::this_thread::get_id(), std::memory_order_relaxed);  // for itself alone
    }
    [[nodiscard]] courier& post() noexcept { return courier_; }
    /// Replies that came after their request had ended.
    [[nodiscard]] std::uint64_t late_replies() const { return book_->late_replies(); }
    [[nodiscard]] std::size_t open_requests() const { return book_->open_requests(); }

private:
    struct entry : boost::intrusive::list_base_hook<> {
        std::string name;
        action_handler handler;
        std::size_t offer = 0;  ///< index in the member's offers
        int running = 0;
    };
    using resolved = boost::container::static_vector<member_ref, max_members>;
    [[nodiscard]] resolved resolve(const target& to, std::string_view action) const;
    /// Opens a request and sends it.
    std::uint64_t begin(const target& to, std::string_view name, std::string_view text,
                        deadline until, request_options options = {});
    void ask(std::uint64_t id, const target& to, member_ref peer, const letter& sent);
    [[nodiscard]] std::string naming(member_ref member) const;
    [[nodiscard]] answers ask_and_await(const target& to, std::string_view name,
                                        std::string_view text, steady_clock::duration timeout);
    /// The answers of an open request, once all are there or the time after `start` is over; {} is
    /// about now.
    [[nodiscard]] answers await(std::uint64_t id, deadline start, steady_clock::duration timeout);
    /// The same, where nobody else serves; sleeps a little when there is nothing.
    [[nodiscard]] answers serve_until(std::uint64_t id, deadline until);
    /// Looks for them so briefly that no sleep could be shorter. Sets a `start` of {}.
    [[nodiscard]] std::optional<answers> spin_for(std::uint64_t id, deadline& start);
    class looking;
    void settle(received_letter& given);
    /// Settles the replies in the inbox. True when there is more, for `serve`.
    bool collect();
    void run_handler(received_letter& arrived, const message::responder& respond);
    /// Why there is no reply.
    [[nodiscard]] std::string call_handler(message& received);
    [[nodiscard]] std::string answer_unregistered(message& received);
    /// Nobody else reads the inbox while the calling thread waits.
    [[nodiscard]] bool reads_alone() const noexcept
    {
        return is_serving() || who_ == server::caller ||
               loop_.load(std::memory_order_relaxed) == std::this_thread::get_id();  // own store
    }
    /// True in a handler or callback of this channel.
    [[nodiscard]] bool is_serving() const noexcept
    {
        return server_.load(std::memory_order_relaxed) == std::this_thread::get_id();  // own store
    }
    [[nodiscard]] entry* find(std::string_view name) noexcept;
    void offer(entry& added);

    domain& domain_;
    courier courier_;

    std::mutex registry_mutex_;  ///< guards entries_ and what is in them
    boost::intrusive::list<entry> entries_;
    std::condition_variable handler_ended_;

    std::shared_ptr<request_book> book_ = std::make_shared<request_book>();

    std::recursive_mutex serving_;           ///< one thread runs handlers; a handler may serve on
    std::atomic<std::thread::id> server_{};  ///< that thread
    std::atomic<std::thread::id> loop_{};
    std::function<std::size_t()> pump_;
    std::atomic<bool> left_over_{false};  ///< `serve` has stopped before its end
    unregistered_handler unregistered_;
    server who_ = server::thread;
};

}  // namespace cohort::ipc
