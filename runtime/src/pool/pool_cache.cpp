#include "cohort/pool/pool_cache.hpp"

#include "cohort/base/error.hpp"

#include <fmt/format.h>

namespace cohort {

pool_cache::pool_cache(const mempool& pool, std::uint32_t size)
    : pool_{pool}
    , size_{size}
    , threshold_{size + size / 2}
    , room_{size + size / 2 + max_cache_size}
    , objects_{std::make_unique<void*[]>(room_)}
{
    if (size == 0 || size > max_cache_size || size + size / 2 > pool.capacity())
        throw error{errc::invalid_argument,
                    fmt::format("a cache of {} objects is asked for, of a pool of {}; 1 to {} and "
                                "two thirds of the pool are allowed",
                                size, pool.capacity(), max_cache_size)};
}

/// At least `wanted`, which may be more than the cache holds otherwise, as long as there is room.
bool pool_cache::refill(std::size_t wanted) noexcept
{
    const auto lane = pool_.self_->lane();
    if (lane == 0 || wanted > max_cache_size)
        return false;
    const auto most = std::min<std::size_t>(wanted - length_ + size_, room_ - length_);
    pool_store backing{pool_.layout().backing()};
    length_ +=
        static_cast<std::uint32_t>(backing.get_burst(std::span{objects_.get() + length_, most}));
    if (length_ >= wanted)
        return true;
    pool_.ask_others(pool_.layout().cache(lane));
    return false;
}

/// Behind a stopped process nothing is flushed, and the next put tries again.
void pool_cache::flush_to(std::uint32_t keep) noexcept
{
    if (length_ <= keep)
        return;
    pool_store backing{pool_.layout().backing()};
    if (backing.put_bulk(std::span{objects_.get() + keep, length_ - keep}) != 0)
        length_ = keep;
}

}  // namespace cohort
