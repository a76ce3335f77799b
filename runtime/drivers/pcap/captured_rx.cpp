#include "captured_rx.hpp"

#include "cohort/port/burst_journal.hpp"
#include "queue_words.hpp"

#include <algorithm>
#include <limits>

namespace cohort::detail {

bool captured_rx::open(mempool_layout* pool) noexcept
{
    pool_.reset();
    if (pool)
        pool_.emplace(*pool);
    has_next_ = false;
    if (!pool_)
        count_up(queue_.errors, 1);
    return pool_ && seek(queue_.position.load(plain));  // ours now
}

bool captured_rx::peek(std::uint64_t position) noexcept
{
    if (!has_next_) {
        has_next_ = fetch(position, next_);
        if (has_next_)
            next_.bytes =
                next_.bytes.first(std::min<std::size_t>(next_.bytes.size(), snap_length_));
    }
    return has_next_;
}

bool captured_rx::fits_pool() noexcept
{
    const auto& pool = pool_->objects().layout();
    const std::size_t room = pool.data_room;
    const auto first = room - std::min<std::size_t>(room, mbuf_headroom);
    const auto length = next_.bytes.size();
    const auto buffers = length <= first ? 1 : 1 + (length - first + room - 1) / room;
    return buffers <=
           std::min<std::size_t>(pool.count(), std::numeric_limits<std::uint16_t>::max());
}

mbuf* captured_rx::make_packet() noexcept
{
    mbuf* packet = pool_->alloc_chain(next_.bytes.size());
    if (!packet)
        return nullptr;
    static_cast<void>(write(*packet, 0, next_.bytes));  // it is as long as that
    packet->port = port_.index;
    packet->timestamp = next_.timestamp_ns;
    packet->wire_len = next_.wire_length > packet->pkt_len ? next_.wire_length : 0;
    return packet;
}

std::size_t captured_rx::burst(std::span<mbuf*> packets) noexcept
{
    const auto from = queue_.position.load(plain);  // ours alone
    const auto most = std::min(packets.size(), max_port_burst);
    burst_result result{.position = from};
    std::size_t count = 0;
    for (std::size_t looks = 0; count != most && looks != 2 * max_port_burst; ++looks) {
        if (!peek(result.position))
            break;
        if (!fits_pool()) {
            count_up(queue_.errors, 1);
        } else if (mbuf* packet = make_packet()) {
            packets[count++] = packet;
            result.bytes += packet->pkt_len;
        } else if (queue_.drop_on_empty != 0) {
            queue_.missed.fetch_add(1, plain);  // a count
        } else {
            count_up(queue_.no_buffer, 1);
            break;
        }
        has_next_ = false;
        pass(++result.position);
    }
    if (count != 0)
        commit_rx(queue_, port_.index, packets.first(count), result);
    else if (result.position != from)
        skip_rx(queue_, result.position);
    end_burst(result.position);
    return count;
}

}  // namespace cohort::detail
