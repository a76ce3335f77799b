#include "cohort/ipc/message.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/recovery/object_view.hpp"
#include "cohort/recovery/recovery_lock.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

constexpr std::string_view small_pool = "cohort.messages";
constexpr std::string_view large_pool = "cohort.messages.large";
constexpr std::size_t small_payload = 896;  // an object of 1 KiB with its message header
constexpr std::uint32_t small_messages = 1024;
// A cache may keep half as many again. Lanes that call no more keep theirs; that must leave some.
// The thread sanitizer sees one process only, and not the order that comes back from another with
// the object: without caches it comes over the pool's ring as well.
#ifdef __SANITIZE_THREAD__
constexpr std::uint32_t small_cache = 0;
#else
constexpr std::uint32_t small_cache = 4;
#endif
static_assert(max_lanes * small_cache * 3 / 2 <= small_messages * 3 / 4);
constexpr std::uint32_t inbox_capacity = 256;
/// From the last word of a message to the inbox, however busy the processors are.
constexpr auto posting_patience = 3 * std::chrono::microseconds{ring_options{}.stall_limit_us};
constexpr int looks_at_posted = 5;
/// A call waits behind a claim for the ring's stall limit. Threads that wait for a processor take
/// longer now and then; one that is stopped is waited for so often.
constexpr int tries_at_claims = 4;

std::string inbox_name(member_id member)
{
    return fmt::format("cohort.inbox.{}", member);
}

mempool find_or_create_pool(domain& shared, std::string_view name, std::uint32_t count,
                            std::size_t payload, std::uint32_t cache)
{
    if (auto pool = shared.find_mempool(name))
        return *pool;
    return shared.create_mempool(
        name, {.count = count,
               .element_bytes = static_cast<std::uint32_t>(sizeof(message_layout) + payload),
               .cache_size = cache});
}

message_layout* as_message(std::uint64_t address) noexcept
{
    return reinterpret_cast<message_layout*>(address);
}

/// Its sender may be writing.
__attribute__((no_sanitize("thread"))) bool is_posted_to(const message_layout& message,
                                                         member_id owner) noexcept
{
    const auto& kind = reinterpret_cast<const std::underlying_type_t<message_kind>&>(message.kind);
    return __atomic_load_n(&message.to, __ATOMIC_ACQUIRE) == owner &&
           __atomic_load_n(&kind, __ATOMIC_ACQUIRE) != 0;  // some kind
}

/// An inbox, word by word: its owner may write over it while others look.
using inbox_word [[gnu::may_alias]] = std::uint32_t;
constexpr std::size_t inbox_words = sizeof(ring_layout) / sizeof(inbox_word);
/// Those that never change; in a new inbox the rest are zeros, but for its slots.
using inbox_header =
    std::array<std::uint32_t, offsetof(ring_layout, stages) / sizeof(inbox_word) + 1>;
constexpr std::size_t magic_word = 0;
static_assert(offsetof(ring_layout, magic) == magic_word * sizeof(inbox_word));

inbox_header header_of_inbox(std::size_t index)
{
    static const auto made = [] {
        ring_layout sample;
        construct_ring(&sample, inbox_capacity, sizeof(message_layout*), publication::by_slot,
                       object_custody_offset, 0, {});
        inbox_header header;
        std::memcpy(header.data(), &sample, sizeof header);
        return header;
    }();
    auto header = made;
    const auto own = static_cast<std::uint16_t>(index);
    std::memcpy(reinterpret_cast<std::byte*>(header.data()) + offsetof(ring_layout, index), &own,
                sizeof own);
    return header;
}

/// Whoever uses an inbox goes by these words, and its owner can write over them. A look: they may
/// change after it.
bool has_inbox_header(const ring_layout& ring, std::size_t index) noexcept
{
    const auto expected = header_of_inbox(index);
    const auto* words = reinterpret_cast<const inbox_word*>(&ring);
    for (std::size_t i = 0; i != expected.size(); ++i)
        if (__atomic_load_n(words + i, __ATOMIC_ACQUIRE) != expected[i])  // ANEW
            return false;
    return true;
}

/// Senders who have looked read the header without order. They read what the owner left there, or
/// what is written here, and are waited for: see `repair`.
__attribute__((no_sanitize("thread"))) void write_word(ring_layout& inbox, std::size_t word,
                                                       std::uint32_t value) noexcept
{
    __atomic_store_n(reinterpret_cast<inbox_word*>(&inbox) + word, value, __ATOMIC_RELEASE);
}

}  // namespace

post_office::post_office(domain& shared)
    : domain_{shared}
    , small_{find_or_create_pool(shared, small_pool, small_messages, small_payload, small_cache)}
    , large_{find_or_create_pool(shared, large_pool, 32, max_payload, 0)}
    , inbox_{own_inbox()}
{
}

ring<message_layout*> post_office::own_inbox()
{
    const auto self = domain_.self().id;
    auto* zone = inbox_zone_of(self);
    if (!zone)
        return domain_.create_ring<message_layout*>(inbox_name(self), inbox_capacity);
    // From an earlier member in this slot; what is stale in it will be dropped.
    if (!can_be_emptied(*zone, self)) {
        auto& members = domain_.members();
        const recovery_lock_guard guard{domain_.region().recovery.lock, members.who(), members,
                                        zone->name.view()};
        repair(*zone, self);
    }
    return ring<message_layout*>{*static_cast<ring_layout*>(zone->data())};
}

memzone_layout* post_office::inbox_zone_of(member_id member)
{
    auto& memory = domain_.segments();
    auto& found = found_[member];  // relaxed: what it says is asked again at the zone
    if (const auto word = found.load(std::memory_order_relaxed); word != 0) {
        auto& zone = memory.layout().zones[static_cast<std::uint32_t>(word) - 1];
        if (zone.is_there(static_cast<std::uint32_t>(word >> 32)) && zone.kind == zone_kind::ring)
            return &zone;
    }
    auto* zone = memory.find(zone_kind::ring, inbox_name(member));
    if (zone)
        found.store(std::uint64_t{zone->word().generation} << 32 | (memory.index_of(*zone) + 1),
                    std::memory_order_relaxed);
    return zone;
}

std::optional<ring<message_layout*>> post_office::inbox_of(member_id member)
{
    const auto* zone = inbox_zone_of(member);
    if (!zone)
        return std::nullopt;
    auto& layout = *static_cast<ring_layout*>(zone->data());
    return has_inbox_header(layout, domain_.segments().index_of(*zone))
               ? std::optional{ring<message_layout*>{layout}}
               : std::nullopt;
}

post_office::delivery post_office::get_free(mempool& pool, void*& object) noexcept
{
    for (int i = 0; i != tries_at_claims; ++i) {
        object = pool.get();
        if (object)
            return delivery::delivered;
        if (pool.layout().backing().count() == 0)
            return delivery::no_message_free;
    }
    return delivery::kept_waiting;
}

/// Each try looks at the header anew: see `repair`.
post_office::delivery post_office::put_into_inbox_of(member_id to, message_layout* message)
{
    for (int i = 0; i != tries_at_claims; ++i) {
        auto inbox = inbox_of(to);
        if (!inbox)
            return delivery::inbox_damaged;
        if (inbox->enqueue(message))
            return delivery::delivered;
        if (inbox->free_count() == 0)
            return delivery::inbox_full;
    }
    return delivery::kept_waiting;
}

post_office::delivery post_office::post(member_ref to, const envelope& sent,
                                        const std::function<void(member_ref)>& ring_bell)
{
    if (sent.payload.size() > max_payload || sent.action.size() > max_action_name)
        return delivery::too_large;
    if (to.id == 0 || to.id >= max_members || !domain_.members().members().is_live(to))
        return delivery::no_such_member;
    if (!inbox_zone_of(to.id))
        return delivery::no_such_member;
    auto& pool = sent.payload.size() <= small_payload ? small_ : large_;
    void* object = nullptr;
    if (const auto result = get_free(pool, object); result != delivery::delivered)
        return result;
    const auto self = domain_.self();
    auto* message = ::new (object) message_layout;  // and its reserved bytes mean nothing
    message->kind = {};                             // what it was before does not count
    message->id = sent.id;
    message->from_generation = self.generation;
    message->to_generation = to.generation;
    message->from = self.id;
    message->to = to.id;
    message->fd_count = sent.fd_count;
    message->payload_bytes = static_cast<std::uint32_t>(sent.payload.size());
    message->action = fixed_name<64>{sent.action};
    message->parcel = sent.parcel;
    message->boxed_bytes = sent.boxed_bytes;
    std::copy_n(sent.payload.data(), sent.payload.size(), message->payload());
    COHORT_FAULT_POINT("ipc.written");
    std::atomic_signal_fence(std::memory_order_release);
    message->kind = sent.kind;  // last: from here on it counts as posted, see repair
    if (const auto result = put_into_inbox_of(to.id, message); result != delivery::delivered) {
        free(message);
        return result;
    }
    COHORT_FAULT_POINT("ipc.posted");
    if (domain_.region().members.members[to.id].mailbox_bell.must_ring())
        ring_bell(to);
    return delivery::delivered;
}

mempool* post_office::pool_of(const message_layout* message) noexcept
{
    const auto address = reinterpret_cast<std::uint64_t>(message);
    for (auto* pool : {&small_, &large_})
        if (pool->layout().index_of(address) != mempool_layout::no_object)
            return pool;
    return nullptr;
}

bool is_sound(const message_layout& head, std::size_t room, member_ref receiver) noexcept
{
    const bool known_kind = head.kind >= message_kind::send && head.kind <= message_kind::refusal;
    const bool for_us = head.to == receiver.id && head.to_generation == receiver.generation;
    return known_kind && for_us && head.from != 0 && head.from < max_members &&
           head.payload_bytes <= room && !head.action.empty() &&
           head.boxed_bytes <= max_boxed_payload;
}

/// One that was written over is to nobody a ring any more: what lies in it is its senders' again,
/// or will be.
bool post_office::is_empty() const noexcept
{
    return inbox_.empty() || !has_inbox_header(inbox_.layout(), own_index_);
}

message_layout* post_office::take(message_layout& head)
{
    if (is_empty())
        return nullptr;
    for (message_layout* message = nullptr; inbox_.dequeue(message); ++dropped_) {
        const auto* pool = pool_of(message);
        if (!pool)
            continue;
        head = *message;
        message->kind = {};  // in no inbox any more
        const auto room = pool->layout().element_bytes - sizeof(message_layout);
        if (is_sound(head, room, domain_.self()))
            return message;
        free(message);
    }
    return nullptr;
}

/// Whether it is an inbox still, and each element can be taken out: it is a message of that owner,
/// and there once.
bool post_office::can_be_emptied(const memzone_layout& zone, member_id owner) noexcept
{
    const auto& inbox = *static_cast<const ring_layout*>(zone.data());
    if (!has_inbox_header(inbox, domain_.segments().index_of(zone)) || find_fault(inbox))
        return false;
    // Whoever trusts in room that is not there writes over what has not been read.
    const auto position = inbox.producer.load().position;  // first: others may post
    const auto trusted = inbox.producer.peer_seen.load(std::memory_order_relaxed);
    if (position - trusted > inbox_capacity ||
        inbox.consumer.load().position - trusted > inbox_capacity)
        return false;
    std::array<std::uint64_t, inbox_capacity> there{};
    std::uint32_t count = 0;
    const auto first = inbox.consumer.load().position;
    for (; count != inbox_capacity && is_published(inbox, first + count); ++count) {
        there[count] = peek_word(inbox, first + count);
        auto* message = as_message(there[count]);
        if (!pool_of(message) || !is_posted_to(*message, owner))
            return false;
    }
    const auto found = std::span{there}.first(count);
    std::ranges::sort(found);
    return std::ranges::adjacent_find(found) == found.end();
}

/// Messages that say they are posted to `owner`, and are neither in a ring nor in a cache.
std::vector<message_layout*> post_office::posted_to(member_id owner)
{
    object_views seen{domain_.segments().layout()};
    seen.mark_at_rest();
    std::vector<message_layout*> messages;
    for (auto* pool : {&small_, &large_})
        for (std::uint32_t i = 0; i != pool->layout().count(); ++i) {
            auto* message = static_cast<message_layout*>(pool->layout().handle(i));
            const auto [view, index] = seen.find(reinterpret_cast<std::uint64_t>(message));
            if (is_posted_to(*message, owner) && view && !view->marked[index])
                messages.push_back(message);
        }
    std::ranges::sort(messages);
    return messages;
}

/// The owner is dead, or not live yet, so nobody begins to post; who had begun is waited for.
/// Nothing in the inbox is to be believed: its messages are those that `posted_to` finds each time
/// it looks. For the holder of the recovery lock; may be done again from the start, for until its
/// end there is no inbox.
void post_office::repair(memzone_layout& zone, member_id owner)
{
    log(log_level::warning, "the inbox of member {} was written over; it is made anew", owner);
    auto& layout = *static_cast<ring_layout*>(zone.data());
    write_word(layout, magic_word, 0);
    COHORT_FAULT_POINT("ipc.repairing");
    auto messages = posted_to(owner);
    for (int looks = 0; looks != looks_at_posted; ++looks) {
        std::this_thread::sleep_for(posting_patience / looks_at_posted);
        const auto now = posted_to(owner);
        if (!std::ranges::includes(messages, now))
            looks = -1;  // somebody had begun
        messages = now;
    }
    const auto own = domain_.members().holder();
    for (auto* message : messages) {
        custody::word_at(message, object_custody_offset)
            .store(own, std::memory_order_release);  // or it would be nobody's after a death here
        message->kind = {};  // as free does: from here on `posted_to` does not find it
        COHORT_FAULT_POINT("ipc.repaired");
        free(message);
    }
    const auto header = header_of_inbox(domain_.segments().index_of(zone));
    for (std::size_t i = magic_word + 1; i != inbox_words; ++i)
        write_word(layout, i, i < header.size() ? header[i] : 0);
    rewind(layout, 0);
    write_word(layout, magic_word, header[magic_word]);  // ANEW
}

void post_office::drain(member_id gone)
{
    auto* zone = inbox_zone_of(gone);
    if (!zone)
        return;
    if (!can_be_emptied(*zone, gone))
        return repair(*zone, gone);
    ring<message_layout*> inbox{*static_cast<ring_layout*>(zone->data())};
    for (message_layout* message = nullptr; inbox.dequeue(message);)
        free(message);
}

void post_office::drain_own() noexcept
{
    const auto& zone = domain_.segments().layout().zones[own_index_];
    if (can_be_emptied(zone, domain_.self().id))
        for (message_layout* message = nullptr; inbox_.dequeue(message);)
            free(message);
}

void post_office::flush_when_asked() noexcept
{
    const auto lane = domain_.members().known_lane();
    if (lane != 0 && small_.layout().cache(lane).asked.load(std::memory_order_relaxed) != 0)
        small_.flush();
}

void post_office::free(message_layout* message) noexcept
{
    if (auto* pool = pool_of(message)) {
        message->kind = {};  // in no inbox
        pool->put(message);
    }
}

}  // namespace cohort::ipc
