#include "cohort/port/port_callbacks.hpp"

#include <algorithm>
#include <utility>

namespace cohort {

callback_id port_callbacks::add(std::uint16_t queue, rx_callback function)
{
    rx_.at(queue).push_back({next_, std::move(function)});
    return next_++;
}

callback_id port_callbacks::add(std::uint16_t queue, tx_callback function)
{
    tx_.at(queue).push_back({next_, std::move(function)});
    return next_++;
}

bool port_callbacks::remove(callback_id which)
{
    const auto take_out = [which](auto& queues) {
        std::size_t gone = 0;
        for (auto& calls : queues)
            gone += std::erase_if(calls, [which](const auto& each) { return each.id == which; });
        return gone != 0;
    };
    return take_out(rx_) || take_out(tx_);
}

bool port_callbacks::empty() const noexcept
{
    const auto none = [](const auto& queues) {
        return std::all_of(queues.begin(), queues.end(), [](const auto& q) { return q.empty(); });
    };
    return none(rx_) && none(tx_);
}

std::size_t port_callbacks::received(std::uint16_t queue, std::span<mbuf*> packets) noexcept
{
    auto count = packets.size();
    for (auto& each : rx_[queue])
        if (count != 0)
            count = std::min(each.call(packets.first(count)), count);
    return count;
}

void port_callbacks::sending(std::uint16_t queue, std::span<mbuf* const> packets) noexcept
{
    for (auto& each : tx_[queue])
        each.call(packets);
}

}  // namespace cohort
