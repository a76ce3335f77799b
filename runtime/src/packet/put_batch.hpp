#pragma once
// Packets on their way back to their pools: what is of one pool goes in one call.

#include "cohort/packet/mbuf.hpp"

#include <array>
#include <cstddef>

namespace cohort::detail {

class put_batch {
public:
    put_batch() = default;
    ~put_batch() { put(); }
    put_batch(const put_batch&) = delete;
    put_batch& operator=(const put_batch&) = delete;

    /// One that is the caller's alone, has no link, and carries its own word: if the process dies
    /// before it is put, that word is all that tells of it.
    void add(mbuf& packet) noexcept
    {
        if (packet.pool != pool_ || length_ == packets_.size()) [[unlikely]]
            put();
        pool_ = packet.pool;
        note(*pool_, packet, mbuf_event::free);
        packets_[length_++] = &packet;
    }

private:
    void put() noexcept
    {
        if (length_ != 0)
            mempool{*pool_}.put_bulk({packets_.data(), length_});
        length_ = 0;
    }

    mempool_layout* pool_ = nullptr;
    std::size_t length_ = 0;
    std::array<void*, 64> packets_;
};

}  // namespace cohort::detail
