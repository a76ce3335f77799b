#include "cohort/ipc/message.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/recovery/object_view.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
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
constexpr auto posting_patience = 50ms;

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

std::uint32_t count_of(std::size_t i) noexcept
{
    return static_cast<std::uint32_t>(i);
}
message_layout* as_message(std::uint64_t address) noexcept
{
    return reinterpret_cast<message_layout*>(address);
}

/// Its sender may be writing.
__attribute__((no_sanitize("thread"))) bool is_posted_to(const message_layout& message,
                                                         member_id owner) noexcept
{
    return __atomic_load_n(&message.to, __ATOMIC_ACQUIRE) == owner &&
           __atomic_load_n(&message.kind, __ATOMIC_ACQUIRE) != message_kind{};
}

/// Whoever puts something into an inbox goes by these words, and its owner can write over them.
bool has_inbox_header(const ring_layout& ring, std::size_t bytes) noexcept
{
    return has_sound_header(ring, bytes) && ring.capacity == inbox_capacity &&
           ring.element_bytes == sizeof(message_layout*) &&
           ring.published == publication::by_slot && ring.custody_offset == object_custody_offset &&
           ring.producer_mode == ring_mode::multi && ring.consumer_mode == ring_mode::multi &&
           ring.stall_limit_us == ring_options{}.stall_limit_us;
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
    auto& layout = *static_cast<ring_layout*>(zone->data());
    if (!has_inbox_header(layout, zone->length) || !can_be_emptied(layout, self))
        repair(*zone, self);
    return ring<message_layout*>{layout};
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
    if (!zone || !has_inbox_header(*static_cast<ring_layout*>(zone->data()), zone->length))
        return std::nullopt;
    return ring<message_layout*>{*static_cast<ring_layout*>(zone->data())};
}

post_office::delivery post_office::post(member_ref to, const envelope& sent,
                                        const std::function<void(member_ref)>& ring_bell)
{
    if (sent.payload.size() > max_payload || sent.action.size() > max_action_name)
        return delivery::too_large;
    if (to.id == 0 || to.id >= max_members || !domain_.members().members().is_live(to))
        return delivery::no_such_member;
    auto inbox = inbox_of(to.id);
    if (!inbox)
        return inbox_zone_of(to.id) ? delivery::inbox_damaged : delivery::no_such_member;
    auto& pool = sent.payload.size() <= small_payload ? small_ : large_;
    void* object = pool.get();
    if (!object)
        return delivery::no_message_free;
    const auto self = domain_.self();
    auto* message = ::new (object) message_layout;  // and its reserved bytes mean nothing
    message->id = sent.id;
    message->from_generation = self.generation;
    message->to_generation = to.generation;
    message->from = self.id;
    message->to = to.id;
    message->fd_count = sent.fd_count;
    message->payload_bytes = static_cast<std::uint32_t>(sent.payload.size());
    message->capacity =
        pool.layout().element_bytes - static_cast<std::uint32_t>(sizeof(message_layout));
    message->action = fixed_name<64>{sent.action};
    message->parcel = sent.parcel;
    message->boxed_bytes = sent.boxed_bytes;
    std::copy_n(sent.payload.data(), sent.payload.size(), message->payload());
    COHORT_FAULT_POINT("ipc.written");
    std::atomic_signal_fence(std::memory_order_release);
    message->kind = sent.kind;  // last: from here on it counts as posted, see repair
    if (!inbox->enqueue(message)) {
        free(message);
        return delivery::inbox_full;
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

message_layout* post_office::take(message_layout& head)
{
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

/// Whether each element can be taken out: it is a message of that owner, and there once.
bool post_office::can_be_emptied(const ring_layout& inbox, member_id owner) noexcept
{
    if (find_fault(inbox))
        return false;
    std::array<std::uint64_t, inbox_capacity> there{};
    std::size_t count = 0;
    const auto first = inbox.consumer.load().position;
    for (; count != there.size() && is_published(inbox, first + count_of(count)); ++count) {
        there[count] = peek_word(inbox, first + count_of(count));
        if (!pool_of(as_message(there[count])) || !is_posted_to(*as_message(there[count]), owner))
            return false;
    }
    std::sort(there.begin(), there.begin() + static_cast<std::ptrdiff_t>(count));
    const auto end = there.begin() + static_cast<std::ptrdiff_t>(count);
    return std::adjacent_find(there.begin(), end) == end;
}

/// The owner is dead, or not live yet, so nobody posts; who was about to is waited for. Nothing in
/// the inbox is to be believed: its messages are those that say so themselves and are at rest
/// nowhere else. May be done again from the start: until its end there is no inbox.
void post_office::repair(memzone_layout& zone, member_id owner)
{
    log(log_level::warning, "the inbox of member {} was written over; it is made anew", owner);
    auto& memory = domain_.segments();
    auto& layout = *static_cast<ring_layout*>(zone.data());
    layout.magic = 0;
    COHORT_FAULT_POINT("ipc.repairing");
    std::vector<message_layout*> messages;
    for (auto* pool : {&small_, &large_})
        for (std::uint32_t i = 0; i != pool->layout().count(); ++i)
            if (auto* message = static_cast<message_layout*>(pool->layout().handle(i));
                is_posted_to(*message, owner))
                messages.push_back(message);
    for (const auto until = deadline_in(posting_patience); steady_clock::now() < until;) {
        std::this_thread::sleep_for(posting_patience / 5);
        object_views seen{memory.layout()};
        seen.mark_at_rest();
        std::erase_if(messages, [&](message_layout* message) {
            const auto [view, index] = seen.find(reinterpret_cast<std::uint64_t>(message));
            return !view || view->marked[index] || !is_posted_to(*message, owner);
        });
    }
    const auto own = domain_.members().holder();
    for (auto* message : messages) {
        custody::word_at(message, object_custody_offset)
            .store(own, std::memory_order_release);  // or it would be nobody's after a death here
        free(message);
        COHORT_FAULT_POINT("ipc.repaired");
    }
    construct_ring(&layout, inbox_capacity, sizeof(message_layout*), publication::by_slot,
                   object_custody_offset, static_cast<std::uint16_t>(memory.index_of(zone)), {});
    rewind(layout, 0);
}

void post_office::drain(member_id gone)
{
    auto* zone = inbox_zone_of(gone);
    if (!zone)
        return;
    auto inbox = inbox_of(gone);
    if (!inbox || !can_be_emptied(inbox->layout(), gone))
        return repair(*zone, gone);
    for (message_layout* message = nullptr; inbox->dequeue(message);)
        free(message);
}

void post_office::drain_own() noexcept
{
    if (can_be_emptied(inbox_.layout(), domain_.self().id))
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
