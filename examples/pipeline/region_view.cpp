#include "region_view.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"

#include <fmt/format.h>

namespace pipeline {

region_view::region_view(const cohort::region_layout& region)
    : region_{region}
    , pool_{&find(cohort::zone_kind::mempool, pool_name)}
    , progress_{static_cast<const progress*>(
          find(cohort::zone_kind::memzone, progress_name).data())}
    , port_{
          static_cast<const cohort::port_layout*>(find(cohort::zone_kind::port, port_name).data())}
{
}

const cohort::memzone_layout& region_view::find(cohort::zone_kind kind, std::string_view name) const
{
    const cohort::memzone_layout* found = nullptr;
    for_each_live(region_.memory, kind, [&](const cohort::memzone_layout& zone) {
        if (zone.name == name)
            found = &zone;
    });
    if (!found)
        throw cohort::error{cohort::errc::no_such_domain,
                            fmt::format("domain \"{}\" has no \"{}\"; run `pipeline setup` first",
                                        region_.header.name.view(), name)};
    return *found;
}

std::uint64_t region_view::packets_expected() const noexcept
{
    return port_->driver_words[cohort::pcap_word::rx_packets] * loops();
}

std::uint64_t region_view::loops() const noexcept
{
    return port_->driver_words[cohort::pcap_word::rx_loops];
}

std::uint64_t region_view::packets_in() const noexcept
{
    return port_->rx[0].packets.load(std::memory_order_acquire);
}

std::uint64_t region_view::packets_out() const noexcept
{
    return port_->tx[0].packets.load(std::memory_order_acquire);
}

bool region_view::done() const noexcept
{
    return progress_->done.load(std::memory_order_acquire) != 0;
}

std::optional<cohort::member_ref> region_view::find_member(std::string_view name) const noexcept
{
    for (cohort::member_id id = 1; id != cohort::max_members; ++id) {
        const auto& member = region_.members.members[id];
        const auto word = member.word();
        if (word.state == cohort::member_state::live && member.name == name)
            return cohort::member_ref{id, word.generation};
    }
    return std::nullopt;
}

std::uint32_t region_view::held_by(cohort::member_ref member) const
{
    for (const auto& held : holders(audited(region_), *pool_))
        if (held.member == member.id && held.generation == member.generation)
            return held.received;
    return 0;
}

std::vector<const std::atomic<std::uint64_t>*> region_view::inputs_of(
    cohort::member_ref member) const
{
    const auto is_its_lane = [&](cohort::lane_id lane) {
        return lane != 0 && region_.members.lanes[lane].word().member == member.id;
    };
    std::vector<const std::atomic<std::uint64_t>*> words;
    for_each_live(region_.memory, cohort::zone_kind::ring, [&](const cohort::memzone_layout& zone) {
        const auto& ring = *static_cast<const cohort::ring_layout*>(zone.data());
        if (is_its_lane(ring.consumer.load().lane))
            words.push_back(&ring.consumer.word);
    });
    if (is_its_lane(port_->rx[0].owner.holder()))
        words.push_back(&port_->rx[0].position);
    return words;
}

}  // namespace pipeline
