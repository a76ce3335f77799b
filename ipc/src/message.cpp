#include "cohort/ipc/message.hpp"

#include "cohort/base/fault_point.hpp"

#include <algorithm>

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

ring<message_layout*> own_inbox(domain& shared)
{
    const auto name = inbox_name(shared.self().id);
    if (auto inbox = shared.find_ring<message_layout*>(name))
        return *inbox;  // from an earlier member in this slot; what is stale in it will be dropped
    return shared.create_ring<message_layout*>(name, inbox_capacity);
}

}  // namespace

post_office::post_office(domain& shared)
    : domain_{shared}
    , small_{find_or_create_pool(shared, small_pool, small_messages, small_payload, small_cache)}
    , large_{find_or_create_pool(shared, large_pool, 32, max_payload, 0)}
    , inbox_{own_inbox(shared)}
{
}

std::optional<ring<message_layout*>> post_office::inbox_of(member_id member)
{
    auto& zones = domain_.segments().layout().zones;
    auto& found = found_[member];  // relaxed: what it says is asked again at the zone
    if (const auto word = found.load(std::memory_order_relaxed); word != 0) {
        const auto& zone = zones[static_cast<std::uint32_t>(word) - 1];
        if (zone.is_there(static_cast<std::uint32_t>(word >> 32)) && zone.kind == zone_kind::ring)
            return ring<message_layout*>{*static_cast<ring_layout*>(zone.data())};
    }
    auto inbox = domain_.find_ring<message_layout*>(inbox_name(member));
    if (inbox) {
        const std::uint64_t index = inbox->layout().index;
        found.store(std::uint64_t{zones[index].word().generation} << 32 | (index + 1),
                    std::memory_order_relaxed);
    }
    return inbox;
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
        return delivery::no_such_member;
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
    message->kind = sent.kind;
    message->fd_count = sent.fd_count;
    message->payload_bytes = static_cast<std::uint32_t>(sent.payload.size());
    message->capacity =
        pool.layout().element_bytes - static_cast<std::uint32_t>(sizeof(message_layout));
    message->action = fixed_name<64>{sent.action};
    message->parcel = sent.parcel;
    message->boxed_bytes = sent.boxed_bytes;
    std::copy_n(sent.payload.data(), sent.payload.size(), message->payload());
    COHORT_FAULT_POINT("ipc.written");
    if (!inbox->enqueue(message)) {
        pool.put(object);
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
        const auto room = pool->layout().element_bytes - sizeof(message_layout);
        if (is_sound(head, room, domain_.self()))
            return message;
        free(message);
    }
    return nullptr;
}

void post_office::drain(member_id gone)
{
    auto inbox = inbox_of(gone);
    for (message_layout* message = nullptr; inbox && inbox->dequeue(message);)
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
    if (auto* pool = pool_of(message))
        pool->put(message);
}

}  // namespace cohort::ipc
