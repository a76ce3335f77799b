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

post_office::delivery post_office::post(member_ref to, message_kind kind, std::uint64_t id,
                                        std::string_view action, std::span<const std::byte> payload,
                                        const std::function<void(member_ref)>& ring_bell)
{
    if (payload.size() > max_payload || action.size() > max_action_name)
        return delivery::too_large;
    if (to.id == 0 || to.id >= max_members || !domain_.members().members().is_live(to))
        return delivery::no_such_member;
    auto inbox = domain_.find_ring<message_layout*>(inbox_name(to.id));
    if (!inbox)
        return delivery::no_such_member;
    auto& pool = payload.size() <= small_payload ? small_ : large_;
    void* object = pool.get();
    if (!object)
        return delivery::no_message_free;
    const auto self = domain_.self();
    auto* message = ::new (object) message_layout{
        .id = id,
        .from_generation = self.generation,
        .to_generation = to.generation,
        .from = self.id,
        .to = to.id,
        .kind = kind,
        .payload_bytes = static_cast<std::uint32_t>(payload.size()),
        .capacity =
            pool.layout().element_bytes - static_cast<std::uint32_t>(sizeof(message_layout)),
        .action = fixed_name<64>{action},
    };
    std::ranges::copy(payload, message->payload());
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
        if (pool->layout().index_of(address) != pool->layout().count)
            return pool;
    return nullptr;
}

message_layout* post_office::take()
{
    message_layout* message = nullptr;
    while (inbox_.dequeue(message)) {
        const auto* pool = pool_of(message);
        const auto self = domain_.self();
        const bool sound =
            pool && message->from != 0 && message->from < max_members && message->to == self.id &&
            message->to_generation == self.generation &&
            message->payload_bytes <=
                pool->layout().element_bytes - static_cast<std::uint32_t>(sizeof(message_layout)) &&
            message->kind >= message_kind::send && message->kind <= message_kind::refusal;
        if (sound)
            return message;
        ++dropped_;
        if (pool)
            free(message);
    }
    return nullptr;
}

void post_office::drain(member_id gone)
{
    auto inbox = domain_.find_ring<message_layout*>(inbox_name(gone));
    for (message_layout* message = nullptr; inbox && inbox->dequeue(message);)
        free(message);
}

void post_office::free(message_layout* message) noexcept
{
    if (auto* pool = pool_of(message))
        pool->put(message);
}

}  // namespace cohort::ipc
