#include "frame_tx.hpp"

#include "cohort/port/burst_journal.hpp"
#include "cohort/port/port_driver.hpp"
#include "queue_words.hpp"

#include <algorithm>
#include <cerrno>

namespace cohort::detail {

bool is_failure(int number) noexcept
{
    return number != EAGAIN && number != EINTR && number != ENOBUFS && number != ENOMEM;
}

void note_refusal(port_queue_layout& queue, int number) noexcept
{
    if (queue.last_errno.exchange(number, plain) != number)  // for display
        count_up(queue.errors, 1);
}

void frame_tx::settle() noexcept
{
    auto& writing = queue_.aux[frame_tx_word::writing];
    if (writing.load(plain) != 0 && writing.load(plain) == queue_.position.load(plain)) {
        queue_.errors.store(queue_.aux[frame_tx_word::errors].load(plain) + 1, in_order);
    }
    writing.store(0, in_order);
}

std::span<const std::byte> frame_tx::gather(const mbuf& packet) noexcept
{
    if (packet.is_contiguous())
        return packet.bytes();
    const auto whole = std::span{gathered_}.first(packet.pkt_len);
    static_cast<void>(read(packet, 0, whole));  // it is as long as that
    return whole;
}

/// False when the packet stays with the caller. Afterwards it is as good as free: it is no longer
/// marked as received, and what is left is to put it back.
bool frame_tx::send(mbuf& packet) noexcept
{
    if (!limits_.allow(packet)) {
        count_up(queue_.errors, 1);
        return true;
    }
    mbuf* const one = &packet;
    const auto before = queue_.position.load(plain);  // ours alone
    auto& writing = queue_.aux[frame_tx_word::writing];
    begin_tx(queue_, {&one, 1}, {.position = before + 1, .bytes = packet.pkt_len});
    queue_.aux[frame_tx_word::errors].store(queue_.errors.load(plain), in_order);
    writing.store(before + 1, in_order);  // WRITING
    promise_tx(queue_);
    if (const int refused = give(packet); refused != 0) {
        withdraw_tx(queue_, before);
        writing.store(0, in_order);
        if (!is_failure(refused))
            return false;
        count_up(queue_.errors, 1);
        queue_.last_errno.store(refused, plain);  // for display
        return true;
    }
    writing.store(0, in_order);
    finish_tx(queue_, {&one, 1});
    return true;
}

std::size_t frame_tx::burst(std::span<mbuf* const> packets) noexcept
{
    const auto most = std::min(packets.size(), max_port_burst);
    std::size_t count = 0;
    while (count != most && send(*packets[count]))
        ++count;
    free_bulk(packets.first(count));
    return count;
}

}  // namespace cohort::detail
