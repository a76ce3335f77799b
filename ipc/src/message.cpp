#include "cohort/ipc/message.hpp"

#include "cohort/base/fault_point.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

constexpr std::string_view small_pool = "cohort.messages";
constexpr std::string_view large_pool = "cohort.messages.large";
constexpr std::size_t small_payload = 896;  // an object of 1 KiB with its message header
constexpr std::uint32_t inbox_capacity = 256;

std::string inbox_name(member_id member)
{
    return fmt::format("cohort.inbox.{}", member);
}

mempool find_or_create_pool(domain& shared, std::string_view name, std::uint32_t count,
                            std::size_t payload)
{
    if (auto pool = shared.find_mempool(name))
        return *pool;
    return shared.create_mempool(
        name, {.count = count,
               .element_bytes = static_cast<std::uint32_t>(sizeof(message_layout) + payload),
               .cache_size = 0});
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
    , small_{find_or_create_pool(shared, small_pool, 1024, small_payload)}
    , large_{find_or_create_pool(shared, large_pool, 32, max_payload)}
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
    auto* message = ::new (object) message_layout{
        .id = sent.id,
        .from_generation = self.generation,
        .to_generation = to.generation,
        .from = self.id,
        .to = to.id,
        .kind = sent.kind,
        .fd_count = sent.fd_count,
        .payload_bytes = static_cast<std::uint32_t>(sent.payload.size()),
        .capacity =
            pool.layout().element_bytes - static_cast<std::uint32_t>(sizeof(message_layout)),
        .action = fixed_name<64>{sent.action},
        .parcel = sent.parcel,
        .boxed_bytes = sent.boxed_bytes,
    };
    std::ranges::copy(sent.payload, message->payload());
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
           head.payload_bytes <= room && !head.action.view().empty() &&
           head.boxed_bytes <= max_boxed_payload;
}

std::optional<post_office::taken_message> post_office::take()
{
    taken_message taken;
    while (inbox_.dequeue(taken.object)) {
        const auto* pool = pool_of(taken.object);
        if (pool) {
            taken.head = *taken.object;
            const auto room = pool->layout().element_bytes - sizeof(message_layout);
            if (is_sound(taken.head, room, domain_.self()))
                return taken;
            free(taken.object);
        }
        ++dropped_;
    }
    return std::nullopt;
}

void post_office::drain(member_id gone)
{
    auto inbox = inbox_of(gone);
    for (message_layout* message = nullptr; inbox && inbox->dequeue(message);)
        free(message);
}

void post_office::free(message_layout* message) noexcept
{
    if (auto* pool = pool_of(message))
        pool->put(message);
}

}  // namespace cohort::ipc
