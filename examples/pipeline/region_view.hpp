#pragma once
/// What an observer reads of the pipeline: everything straight from the region, nothing asked of a
/// process.

#include "cohort/domain/region_layout.hpp"
#include "cohort/member/member_table.hpp"
#include "cohort/port/port_layout.hpp"
#include "cohort/ring/ring_layout.hpp"
#include "pipeline_layout.hpp"

#include <optional>
#include <string_view>
#include <vector>

namespace pipeline {

/// Non-owning; valid as long as the observer is.
class region_view {
public:
    /// Throws `errc::no_such_domain` when `setup` has not run.
    explicit region_view(const cohort::region_layout& region);

    [[nodiscard]] const cohort::region_layout& region() const noexcept { return region_; }
    [[nodiscard]] const progress& run() const noexcept { return *progress_; }
    [[nodiscard]] const cohort::port_layout& port() const noexcept { return *port_; }
    [[nodiscard]] const cohort::memzone_layout& pool() const noexcept { return *pool_; }

    /// All there will be: packets of the file times loops.
    [[nodiscard]] std::uint64_t packets_expected() const noexcept;
    [[nodiscard]] std::uint64_t loops() const noexcept;
    [[nodiscard]] std::uint64_t packets_in() const noexcept;
    [[nodiscard]] std::uint64_t packets_out() const noexcept;
    [[nodiscard]] bool done() const noexcept;

    /// The live member of that name, or nothing.
    [[nodiscard]] std::optional<cohort::member_ref> find_member(
        std::string_view name) const noexcept;
    /// Packets that the member has taken from a ring or port and not passed on.
    [[nodiscard]] std::uint32_t held_by(cohort::member_ref member) const;
    /// The words that change when the member takes packets: rings and queues that it alone serves.
    [[nodiscard]] std::vector<const std::atomic<std::uint64_t>*> inputs_of(
        cohort::member_ref member) const;

private:
    const cohort::memzone_layout& find(cohort::zone_kind kind, std::string_view name) const;

    const cohort::region_layout& region_;
    const cohort::memzone_layout* pool_;
    const progress* progress_;
    const cohort::port_layout* port_;
};

}  // namespace pipeline
