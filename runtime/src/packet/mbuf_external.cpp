#include "cohort/packet/mbuf_external.hpp"

#include "cohort/base/fault_point.hpp"
#include "cohort/packet/mbuf_clone.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace cohort {
namespace {

/// What this process can run; never shared.
constinit std::array<std::atomic<external_free>, max_external_functions> functions{};

/// Leaves the buffer to a member that has the function: from its custody word on it is not ours.
void park(membership& self, mbuf& buffer) noexcept
{
    buffer.next = nullptr;
    buffer.nb_segs = 1;
    buffer.refcnt = 1;
    auto& waits = self.members().external_waits();
    waits.fetch_add(1, std::memory_order_acq_rel);
    COHORT_FAULT_POINT("mbuf.parking");
    detail::set_custody(buffer, custody::holder(custody::waiting_external, 0));
    COHORT_FAULT_POINT("mbuf.parked");
    waits.fetch_add(1, std::memory_order_acq_rel);  // a walk that had not seen it is done again
}

/// A buffer that is about to call keeps number and argument in fields it needs no more, for the
/// function may free the info.
void begin_release(mbuf& buffer, const external_info& info) noexcept
{
    buffer.hash.tag = info.function;
    buffer.redo = info.opaque;
    std::atomic_ref{buffer.share}.store(detail::share_releasing, std::memory_order_release);
}

}  // namespace

bool bind_external_free(std::uint32_t number, external_free function) noexcept
{
    if (number >= functions.size())
        return false;
    functions[number].store(function, std::memory_order_release);
    return true;
}

external_free bound_external_free(std::uint32_t number) noexcept
{
    return number < functions.size() ? functions[number].load(std::memory_order_acquire) : nullptr;
}

bool can_free_external() noexcept
{
    return std::ranges::any_of(functions,
                               [](const auto& f) { return f.load(std::memory_order_acquire); });
}

bool is_shared(mbuf& segment) noexcept
{
    if (segment.handles() > 1)
        return true;
    if (const auto* info = external_info_of(segment))
        return info->refcnt() > 1;
    return refcnt(segment.direct()) > 1;
}

bool attach_external(mbuf& buffer, std::span<std::byte> memory, external_info& info) noexcept
{
    const auto share = reinterpret_cast<std::uint64_t>(&info);
    if (buffer.share_word() != reference_word::pristine || buffer.refcnt != 1 ||
        buffer.pool->pinned || memory.size() > std::numeric_limits<std::uint16_t>::max() ||
        share % alignof(external_info) != 0)
        return false;
    buffer.buf_addr = memory.data();
    buffer.buf_len = static_cast<std::uint16_t>(memory.size());
    buffer.data_off = 0;
    buffer.data_len = 0;
    buffer.ol_flags |= mbuf_flag::external;
    std::atomic_ref{buffer.share}.store(share, std::memory_order_release);  // one store: it is ours
    return true;
}

bool detail::detach_external(membership& self, mbuf& buffer, std::uint64_t holder) noexcept
{
    auto which = external_call::again;
    if (auto* info = external_info_of(buffer)) {
        if (drop_reference(self, info->references, buffer.share, reference_word::pristine)) {
            restore_buffer(buffer);
            return true;
        }
        if (!bound_external_free(info->function)) {
            park(self, buffer);
            return false;
        }
        set_custody(buffer, holder);
        begin_release(buffer, *info);
        which = external_call::first;
    }
    const auto function = bound_external_free(buffer.hash.tag);
    if (!function) {
        park(self, buffer);
        return false;
    }
    COHORT_FAULT_POINT("mbuf.releasing");
    function({buffer.buf_addr, buffer.buf_len}, buffer.redo, which);
    restore_buffer(buffer);
    buffer.redo = 0;
    COHORT_FAULT_POINT("mbuf.released");
    std::atomic_ref{buffer.share}.store(reference_word::pristine, std::memory_order_release);
    return true;
}

}  // namespace cohort
