#pragma once
/// Counts different flows, exactly, up to a stated number of them.

#include "cohort/packet/parse.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pipeline {

/// Open addressing over a fixed table, made once. In process memory: flows die with their worker.
class flow_table {
public:
    static constexpr std::size_t slots = 1u << 16;
    static constexpr std::size_t most_flows = slots / 4 * 3;  ///< more are not counted

    /// REQUIRES: the key of an IP packet.
    void note(const cohort::flow_key& key) noexcept
    {
        for (std::size_t at = cohort::flow_hash(key) % slots;; at = (at + 1) % slots) {
            auto& slot = table_[at];
            if (slot == key)
                return;
            if (slot.l3 == cohort::l3_kind::none) {
                if (count_ != most_flows) {
                    slot = key;
                    ++count_;
                }
                return;
            }
        }
    }
    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

private:
    std::vector<cohort::flow_key> table_ = std::vector<cohort::flow_key>(slots);
    std::size_t count_ = 0;
};

}  // namespace pipeline
