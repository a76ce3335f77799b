#pragma once
// Scopes around the life of a named entry: its making, and its end.

#include "cohort/member/membership.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/recovery/recovery_lock.hpp"

#include <string_view>
#include <utility>

namespace cohort {

/// An entry in INIT that is released again unless the object inside is completed.
class new_entry {
public:
    new_entry(memory& segments, const zone_request& request, actor who)
        : memory_{segments}
        , who_{who}
        , zone_{&segments.reserve(request, who)}
    {
    }
    ~new_entry()
    {
        if (zone_)
            memory_.release(*zone_);
    }
    new_entry(const new_entry&) = delete;
    new_entry& operator=(const new_entry&) = delete;

    [[nodiscard]] void* data() const noexcept { return zone_->data(); }
    [[nodiscard]] std::uint16_t index() const noexcept
    {
        return static_cast<std::uint16_t>(memory_.index_of(*zone_));
    }
    memzone_layout& publish() noexcept
    {
        memory_.publish(*zone_, who_);
        return *std::exchange(zone_, nullptr);
    }

private:
    memory& memory_;
    actor who_;
    memzone_layout* zone_;
};

}  // namespace cohort
