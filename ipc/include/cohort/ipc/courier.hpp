#pragma once
/// Gets letters to other members and takes theirs from the inbox, with what a message itself cannot
/// hold: payload above 64 KiB travels in a memzone (a *box*), descriptors over the receiver's
/// socket (a *parcel*).
///
///   sender: box made | parcel sent | message posted          receiver: message | parcel | handled
///
/// Box and parcel are there before their message is, so a message without them is unsound. A box is
/// named after its sender and receiver and belongs to the receiver, who releases it. Boxes of a
/// receiver that is gone are released by any member; boxes that a dead sender never posted by their
/// receiver, when it has read all that the dead had posted. A parcel belongs to the kernel until it
/// is read, and to the receiving process then.
///
/// *Thread safety*: all calls from any thread.
/// *When a process dies here*: see above; nothing of a courier is shared but pools, inboxes and
/// boxes.

#include "cohort/base/clock.hpp"
#include "cohort/base/file_descriptor.hpp"
#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/message.hpp"
#include "cohort/ipc/peers.hpp"

#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cohort::ipc {

/// What is to be delivered.
struct letter {
    message_kind kind{};
    std::uint64_t id = 0;
    std::string_view action;
    std::span<const std::byte> payload;
    std::span<const int> fds{};
};

/// What was taken from the inbox. Give it back with `courier::discard`.
struct received_letter {
    message_layout* object = nullptr;  ///< whose payload it is; the rest of it is not looked at
    message_layout head{};
    memzone box;
    std::vector<file_descriptor> fds;
    deadline give_up{};  ///< for its parcel to come
    bool lost = false;   ///< the parcel did not come

    [[nodiscard]] member_ref sender() const noexcept { return head.sender(); }
    [[nodiscard]] std::span<const std::byte> payload() const noexcept;
    [[nodiscard]] bool is_answer() const noexcept
    {
        return head.kind == message_kind::reply || head.kind == message_kind::refusal;
    }
};

class courier {
public:
    /// Makes this member's inbox. `own_wake` is the eventfd of whoever reads it.
    courier(domain& shared, peers& others, const rendezvous& place, int own_wake);
    ~courier();
    courier(const courier&) = delete;
    courier& operator=(const courier&) = delete;

    /// Nothing when the letter is in the receiver's inbox, else why not, in the words that follow
    /// the receiver's name.
    enum class outcome { delivered, no_such_member, refused };
    struct receipt {
        outcome what = outcome::delivered;
        std::string why{};
    };
    receipt deliver(member_ref to, const letter& sent);

    using settler = std::function<void(received_letter&)>;
    /// Reads the inbox to its end. Calls `settle`, which must not call the courier, with each
    /// answer that is complete or lost. True when something is there for `next`.
    bool collect(const settler& settle);
    /// The same, and takes the oldest letter that is complete or lost and no answer. Letters of one
    /// sender keep their order.
    [[nodiscard]] std::optional<received_letter> next(const settler& settle);
    void discard(received_letter& done) noexcept;

    /// Descriptors that a peer sent ahead; none: that letter will not come. False when it holds
    /// more than it may.
    bool take_parcel(member_ref from, std::uint64_t number, std::vector<file_descriptor> fds);
    /// Releases boxes and closes parcels of members that are gone, and gives back messages that
    /// others miss. Called now and then.
    void sweep();
    /// Frees what lies in the inbox of a member that reads no more.
    void drain(member_id gone) { post_.drain(gone); }
    /// Discards all that has come.
    void close() noexcept;
    /// Makes the reader of the own inbox look.
    void wake_reader() const noexcept;

    [[nodiscard]] bool is_empty() const noexcept { return post_.is_empty(); }
    /// Messages that were not what they should be.
    [[nodiscard]] std::uint64_t dropped() const;
    [[nodiscard]] std::size_t parcels() const;

private:
    using parcel_key = std::pair<std::uint64_t, std::uint64_t>;  // sender, number

    [[nodiscard]] receipt post(member_ref to, const envelope& wrapped);
    [[nodiscard]] receipt post_with_fds(member_ref to, const letter& sent, envelope wrapped);
    [[nodiscard]] memzone make_box(member_ref to, std::span<const std::byte> payload);
    void release_box(const memzone& box) noexcept;
    bool open(received_letter& arrived);
    [[nodiscard]] bool is_complete(received_letter& arrived);
    void read_inbox();
    /// What `collect` and `next` do under the mutex, and what they do without: long copies.
    bool settle_answers(const settler& settle, std::list<received_letter>& boxed);
    void settle_boxed(const settler& settle, std::list<received_letter>& boxed);
    [[nodiscard]] std::optional<received_letter> oldest();
    received_letter remove(std::list<received_letter>::iterator at);
    [[nodiscard]] bool is_gone(member_ref member) const noexcept;
    void sweep_boxes();
    void sweep_parcels();
    [[nodiscard]] bool is_awaited(member_ref from, std::uint64_t number) const;
    [[nodiscard]] bool is_in_hand(std::string_view box) const;

    domain& domain_;
    peers& peers_;
    const rendezvous& place_;
    post_office post_;
    int own_wake_;

    mutable std::mutex mutex_;  ///< guards reading the inbox, and all below
    std::list<received_letter> backlog_;
    std::list<received_letter> spare_;  ///< so that a message costs no allocation
    std::map<parcel_key, std::vector<file_descriptor>> parcels_;
    std::vector<std::string> boxes_in_hand_;
    std::uint64_t next_number_ = 1;
    std::uint64_t dropped_ = 0;
    std::uint64_t deaths_seen_ = 0;
    std::vector<memzone> unreleased_;  ///< behind a reaper that is stopped
    bool boxes_left_ = false;          ///< some name a member that is gone, or is going
};

}  // namespace cohort::ipc
