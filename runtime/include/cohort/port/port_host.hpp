#pragma once
/// What a driver gets from the domain that its port is in: the table of names, and descriptors that
/// reach other members.
///
/// *Thread safety*: all calls from any thread.
/// *When a process dies here*: descriptors that were handed over live on in the other member.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/pool/mempool_layout.hpp"
#include "cohort/port/port_layout.hpp"

#include <functional>
#include <vector>

namespace cohort {

/// A port of one generation of its entry: another port in the same place is another one.
struct port_key {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;

    friend bool operator==(const port_key&, const port_key&) = default;
};

class port_host {
public:
    explicit port_host(memory& segments) noexcept : segments_{&segments} {}

    [[nodiscard]] memory& segments() noexcept { return *segments_; }
    [[nodiscard]] const memzone_layout& entry_of(const port_layout& port) const noexcept
    {
        return segments_->layout().zones[port.index];
    }
    [[nodiscard]] port_key key_of(const port_layout& port) const noexcept
    {
        return {port.index, entry_of(port).word().generation};
    }
    /// The pool of an rx queue; nullptr when it has none, or that has been destroyed.
    [[nodiscard]] mempool_layout* pool_of(const port_queue_layout& queue) const noexcept;

private:
    memory* segments_;
};

}  // namespace cohort
