#pragma once
/// A message in the region: an object of a shared pool, handed over through the receiver's inbox.
///
/// Messages are pool objects with custody and inboxes are rings, so what a dead sender or receiver
/// held of them comes back like any other buffer.
///
///   pool object header (64, custody) | message_layout (128) | payload

#include "cohort/base/fixed_name.hpp"
#include "cohort/domain/domain.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::ipc {

inline constexpr std::size_t max_action_name = 63;
inline constexpr std::size_t max_payload = 64 * 1024;
inline constexpr std::size_t max_boxed_payload = std::size_t{1} << 30;

enum class message_kind : std::uint8_t { send = 1, request = 2, reply = 3, refusal = 4 };

/// Its sender writes each field, so it is not cleared first; what is reserved may be anything.
struct message_layout {
    std::uint64_t id;  ///< of the request; a reply carries the same
    std::uint32_t from_generation;
    std::uint32_t to_generation;
    member_id from;
    member_id to;
    message_kind kind;      ///< written last, and wiped when it is in no inbox any more
    std::uint8_t fd_count;  ///< descriptors that were sent ahead, over the receiver's socket
    std::uint8_t reserved_[2];
    std::uint32_t payload_bytes;
    std::uint32_t reserved3_;
    fixed_name<64> action;
    std::uint64_t parcel;       ///< the number under which they were sent
    std::uint64_t boxed_bytes;  ///< not 0: so many, in the memzone that the payload names
    std::uint64_t reserved2_[2];

    [[nodiscard]] std::byte* payload() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
    [[nodiscard]] const std::byte* payload() const noexcept
    {
        return reinterpret_cast<const std::byte*>(this + 1);
    }
    [[nodiscard]] member_ref sender() const noexcept { return {from, from_generation}; }
};
static_assert(shared_layout<message_layout> && sizeof(message_layout) == 128);

}  // namespace cohort::ipc

namespace cohort {
template <>
inline constexpr std::int32_t custody_offset_of<ipc::message_layout*> = object_custody_offset;
}

namespace cohort::ipc {

/// Whether `head`, which any process may have written, is a message for `receiver` whose payload
/// lies in `room` bytes. Look at a copy: the original may change after the look.
[[nodiscard]] bool is_sound(const message_layout& head, std::size_t room,
                            member_ref receiver) noexcept;

/// What a message is made of.
struct envelope {
    message_kind kind{};
    std::uint64_t id = 0;
    std::string_view action;
    std::span<const std::byte> payload;
    std::uint8_t fd_count = 0;
    std::uint64_t parcel = 0;
    std::uint64_t boxed_bytes = 0;
};

/// The message pools of a domain and the inboxes of its members.
class post_office {
public:
    /// Finds the pools and this member's inbox, or creates what is missing: the first member of a
    /// domain makes the pools.
    explicit post_office(domain& shared);

    enum class delivery {
        delivered,
        no_such_member,
        no_message_free,
        inbox_full,
        inbox_damaged,  ///< its owner has written over it
        kept_waiting,   ///< by somebody who is stopped in the middle of taking or posting one
        too_large,
    };

    /// Copies the payload into a message and puts it into the receiver's inbox. `ring_bell` is
    /// called with the receiver when it sleeps.
    delivery post(member_ref to, const envelope& sent,
                  const std::function<void(member_ref)>& ring_bell);

    /// The oldest sound message for this member, and its head as it was found sound, in a copy that
    /// nobody else can change; or nullptr. Unsound and stale ones are freed and counted.
    [[nodiscard]] message_layout* take(message_layout& head);
    void free(message_layout* message) noexcept;
    /// Gives back what the calling lane caches when somebody has found no message. Called now and
    /// then, so that messages do not lie with a dispatcher that has nothing to do.
    void flush_when_asked() noexcept;
    /// Frees what lies in the inbox of a member that reads no more, whatever it has made of that.
    void drain(member_id gone);
    /// The same of the own inbox, while others post; one that was written over stays for `drain`.
    void drain_own() noexcept;

    /// Nothing can be taken.
    [[nodiscard]] bool is_empty() const noexcept;
    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

private:
    [[nodiscard]] mempool* pool_of(const message_layout* message) noexcept;
    [[nodiscard]] memzone_layout* inbox_zone_of(member_id member);
    [[nodiscard]] std::optional<ring<message_layout*>> inbox_of(member_id member);
    static delivery get_free(mempool& pool, void*& object) noexcept;
    delivery put_into_inbox_of(member_id to, message_layout* message);
    [[nodiscard]] bool can_be_emptied(const memzone_layout& zone, member_id owner) noexcept;
    [[nodiscard]] std::vector<message_layout*> posted_to(member_id owner);
    [[nodiscard]] ring<message_layout*> own_inbox();
    void repair(memzone_layout& inbox, member_id owner);

    domain& domain_;
    mempool small_;
    mempool large_;
    /// Where inboxes lay when they were last looked up by name: the generation of the memzone, and
    /// below it its index plus 1. 0 = not looked up.
    std::array<std::atomic<std::uint64_t>, max_members> found_{};
    ring<message_layout*> inbox_;
    std::size_t own_index_ = domain_.segments().index_of(*inbox_zone_of(domain_.self().id));
    std::uint64_t dropped_ = 0;
};

}  // namespace cohort::ipc
