#pragma once
// A domain with a heap over memory that the test brings.

#include "cohort/base/error.hpp"
#include "cohort/domain/heap.hpp"
#include "support/scratch_domain.hpp"
#include "support/shared_piece.hpp"

#include <functional>
#include <optional>
#include <string_view>

#include <catch2/catch.hpp>

namespace cohort::test {

/// A domain with an external heap that has one piece of memory.
struct with_piece {
    scratch_directory files{};
    shared_piece piece{files.path() / "piece"};  // outlives the domain, which may still touch it
    scratch_domain domain{};
    heap own{domain->create_heap("own")};

    with_piece() { own.add_memory(piece.bytes()); }
};

/// The reason for which a call is refused; nothing when it is not.
inline std::optional<errc> refusal_of(const std::function<void()>& call)
{
    try {
        call();
    } catch (const error& refused) {
        INFO(refused.what());
        CHECK(std::string_view{refused.what()}.size() > 20);
        return refused.reason();
    }
    return std::nullopt;
}

inline std::span<std::byte> part(std::span<std::byte> all, std::size_t from, std::size_t bytes)
{
    return {all.data() + from, bytes};
}

inline std::uint64_t used_blocks(const heap& from)
{
    return from.layout().counters.used_blocks;
}

}  // namespace cohort::test
