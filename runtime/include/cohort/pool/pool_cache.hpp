#pragma once
/// A cache of one pool that its user owns, as rte_mempool_cache: for a thread that works on several
/// flows, or that wants more or less in its hands than its lane's cache holds.
///
/// It lies in the process's own memory. What is in it carries the custody word of this member, as
/// what its threads hold does, and `cohort holders` counts it as fresh. Who finds the pool empty
/// does not ask for it, as for what idles in the caches of lanes.
///
/// *Thread safety*: one thread at a time, with a lane.
/// *When a process dies here*: all of it comes back with what the member held.
/// *When not to use*: each lane has a cache already; see mempool.

#include "cohort/pool/mempool.hpp"

#include <memory>

namespace cohort {

class pool_cache {
public:
    /// Refilled to `size` objects, flushed to that when it has half as many more. Throws
    /// `errc::invalid_argument` unless 1 to 512, and not more than two thirds of the pool.
    pool_cache(const mempool& pool, std::uint32_t size);
    /// Flushes. Without a lane, or behind a stopped process, what is left comes back with the
    /// member.
    ~pool_cache() { flush(); }
    pool_cache(const pool_cache&) = delete;
    pool_cache& operator=(const pool_cache&) = delete;

    /// As mempool::get_bulk and get.
    [[nodiscard]] bool get_bulk(std::span<void*> objects) noexcept
    {
        if (length_ < objects.size() && !refill(objects.size())) [[unlikely]]
            return false;
        length_ -= static_cast<std::uint32_t>(objects.size());
        mempool::copy_handles(objects.data(), objects_.get() + length_,
                              static_cast<std::uint32_t>(objects.size()));
        return true;
    }
    [[nodiscard]] void* get() noexcept
    {
        void* object = nullptr;
        return get_bulk({&object, 1}) ? object : nullptr;
    }
    /// As mempool::put_bulk and put: what finds no room behind a stopped process stays in this
    /// member's custody until it ends.
    void put_bulk(std::span<void* const> objects) noexcept
    {
        pool_.hold(objects);
        for (void* object : objects) {
            if (length_ >= threshold_) [[unlikely]]
                flush_to(size_);
            if (length_ != room_) [[likely]]
                objects_[length_++] = object;
        }
    }
    void put(void* object) noexcept { put_bulk({&object, 1}); }

    /// Gives all to the pool.
    void flush() noexcept { flush_to(0); }
    [[nodiscard]] std::size_t count() const noexcept { return length_; }

private:
    [[nodiscard]] bool refill(std::size_t wanted) noexcept;
    void flush_to(std::uint32_t keep) noexcept;

    mempool pool_;
    std::uint32_t size_;
    std::uint32_t threshold_;  // from here on a put flushes
    std::uint32_t room_;
    std::uint32_t length_ = 0;
    std::unique_ptr<void*[]> objects_;
};

}  // namespace cohort
