// Boxes and parcels, and what becomes of those whose sender or receiver is gone.

#include "box_name.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/courier.hpp"

#include <algorithm>

namespace cohort::ipc {
namespace {

constexpr std::size_t parcels_of_a_peer = 64;  // that have no message yet

}  // namespace

bool courier::is_gone(member_ref member) const noexcept
{
    return !domain_.members().members().is_current(member);
}

memzone courier::make_box(member_ref to, std::span<const std::byte> payload)
{
    std::unique_lock guard{mutex_};
    for (unsigned tries = 1;; ++tries) {
        const auto name = box_name({domain_.self(), to}, next_number_++);
        guard.unlock();
        try {
            auto box = domain_.reserve_memzone(name, payload.size());
            std::ranges::copy(payload, box.data());
            COHORT_FAULT_POINT("ipc.boxed");
            return box;
        } catch (const error& refused) {
            if (refused.reason() != errc::exists || tries > 0xffff)
                throw;
        }
        guard.lock();
    }
}

void courier::release_box(const memzone& box) noexcept
{
    try {
        domain_.release_memzone(box);
    } catch (const std::exception& later) {  // behind a reaper that is stopped
        log(log_level::warning, "a payload of {} bytes is not released yet: {}", box.size(),
            later.what());
        const std::lock_guard guard{mutex_};
        unreleased_.push_back(box);
    }
}

bool courier::is_awaited(member_ref from, std::uint64_t number) const
{
    return std::ranges::any_of(backlog_, [&](const received_letter& one) {
        return one.head.fd_count != 0 && one.sender() == from && one.head.parcel == number;
    });
}

bool courier::take_parcel(member_ref from, std::uint64_t number, std::vector<file_descriptor> fds)
{
    const std::lock_guard guard{mutex_};
    const parcel_key key{key_of(from), number};
    if (fds.empty()) {
        parcels_.erase(key);
        return true;
    }
    const auto held = std::ranges::count_if(
        parcels_, [&](const auto& one) { return one.first.first == key_of(from); });
    if (static_cast<std::size_t>(held) >= parcels_of_a_peer)
        return false;
    read_inbox();
    if (is_gone(from) && !is_awaited(from, number))
        return true;
    parcels_.insert_or_assign(key, std::move(fds));
    return true;
}

void courier::sweep_parcels()
{
    std::erase_if(parcels_, [&](const auto& one) {
        const auto [sender, number] = one.first;
        const member_ref from{static_cast<member_id>(sender >> 32),
                              static_cast<std::uint32_t>(sender)};
        return is_gone(from) && !is_awaited(from, number);
    });
}

bool courier::is_in_hand(std::string_view box) const
{
    return std::ranges::find(boxes_in_hand_, box) != boxes_in_hand_.end();
}

void courier::sweep()
{
    post_.flush_when_asked();
    sweep_boxes();
}

/// Looks only when somebody has gone since the last look, or something was left then.
void courier::sweep_boxes()
{
    const auto deaths = domain_.region().recovery.deaths.load(std::memory_order_acquire);
    std::vector<memzone> orphans;
    {
        const std::lock_guard guard{mutex_};
        orphans.swap(unreleased_);
        if (deaths == deaths_seen_ && !boxes_left_ && orphans.empty())
            return;
        deaths_seen_ = deaths;
        boxes_left_ = false;
        std::vector<memzone> candidates;
        const auto& table = domain_.members().members();
        domain_.for_each_memzone([&](const memzone& zone) {
            const auto route = route_of_box(zone.name());
            if (!route || (table.is_live(route->from) && table.is_live(route->to)))
                return;
            boxes_left_ = true;  // looked at again, until no box names anybody who is gone
            if (is_gone(route->to))
                orphans.push_back(zone);
            else if (route->to == domain_.self() && is_gone(route->from))
                candidates.push_back(zone);
        });
        read_inbox();  // after the look at who is gone: all that the dead have posted
        for (const auto& zone : candidates)
            if (!is_in_hand(zone.name()))
                orphans.push_back(zone);
        sweep_parcels();
    }
    for (const auto& zone : orphans)
        release_box(zone);
}

}  // namespace cohort::ipc
