#pragma once
/// Buffers that a user brought: an mbuf that shows memory of no pool.
///
/// `attach_external` gives a buffer such memory; clones share it; the last of them to go calls the
/// memory's *free function*. That function is code of a process, so it is named by a number, which
/// each process that can run it binds by `bind_external_free`, and the same number means the same
/// in all of them. Memory and `external_info` must be shared by all members: a memzone or heap
/// block.
///
/// When the last buffer is freed by a member that has not bound the number, the buffer waits, with
/// its memory, for a member that has: the look-around of any such member frees it. `audit` counts
/// it as waiting.
///
/// *Thread safety*: as for clones (mbuf_clone.hpp). Free functions run in whichever thread frees
/// last, or in the dispatcher.
/// *When a process dies here*: the count is repaired as that of a clone. A process killed after it
/// began to call the free function may have done half of it: another member calls it once more,
/// with `external_call::again`. What an `external_info` counts before it is attached is its maker's
/// to give back.

#include "cohort/packet/mbuf.hpp"

#include <cstdint>
#include <span>

namespace cohort {

/// How many buffers show a piece of external memory, and what becomes of it after; as
/// rte_mbuf_ext_shared_info. It lies beside the memory, aligned to 8 bytes.
struct external_info {
    std::uint64_t references = reference_word::own | reference_word::one_clone;
    std::uint32_t function = 0;  ///< number of the free function
    std::uint32_t reserved_ = 0;
    std::uint64_t opaque = 0;  ///< handed to the free function

    /// Buffers that show the memory; 1 before the first is attached.
    [[nodiscard]] std::uint32_t refcnt() const noexcept
    {
        const std::atomic_ref word{const_cast<std::uint64_t&>(references)};
        return reference_word{word.load(std::memory_order_acquire)}.clones();
    }
};
static_assert(shared_layout<external_info> && sizeof(external_info) == 24);

enum class external_call {
    first,
    again,  ///< a process has died that had begun to call it
};
/// May free the external_info, too, when that lies in `memory` or beside it.
using external_free = void (*)(std::span<std::byte> memory, std::uint64_t opaque,
                               external_call which) noexcept;

inline constexpr std::uint32_t max_external_functions = 64;

/// Binds a number below 64 in this process; nullptr unbinds it. False for other numbers.
bool bind_external_free(std::uint32_t number, external_free function) noexcept;
[[nodiscard]] external_free bound_external_free(std::uint32_t number) noexcept;
/// Whether any number is bound here.
[[nodiscard]] bool can_free_external() noexcept;

/// Makes `buffer`, plain and not pinned, show `memory` of at most 65535 bytes, as
/// rte_pktmbuf_attach_extbuf: headroom and data are empty. It takes over the reference that `info`
/// has from its making. False, and nothing done, when it is none such.
[[nodiscard]] bool attach_external(mbuf& buffer, std::span<std::byte> memory,
                                   external_info& info) noexcept;

/// That of an external buffer, else nullptr.
[[nodiscard]] inline external_info* external_info_of(const mbuf& buffer) noexcept
{
    const auto share = buffer.share_word();
    return (share & 3) == 0 && share > 4 ? reinterpret_cast<external_info*>(share) : nullptr;
}

/// Whether somebody else has this segment, or shows its data, too: then it is only to be read.
/// False stays false as long as the caller hands out no clone of it.
[[nodiscard]] bool is_shared(mbuf& segment) noexcept;

namespace detail {

inline constexpr std::uint64_t share_releasing = 4;

/// Takes the external memory off a buffer of `holder`, who is the calling member or dead. False
/// when nobody here can free it: then the buffer waits, in nobody's hands.
bool detach_external(membership& self, mbuf& buffer, std::uint64_t holder) noexcept;

}  // namespace detail
}  // namespace cohort
