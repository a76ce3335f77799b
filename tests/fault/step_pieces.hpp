#pragma once
// Two pieces of memory that the single-step killer and its victims map.

#include "support/shared_piece.hpp"

#include <cstdint>
#include <filesystem>

namespace cohort::test {

inline constexpr std::uint32_t stepped_batch = 3;             ///< elements a victim moves
inline constexpr std::uint64_t first_value_of_victim = 1000;  ///< that it sends into "values"

struct step_pieces {
    shared_piece first;
    shared_piece second;

    explicit step_pieces(const std::filesystem::path& directory)
        : first{directory / "first"}
        , second{directory / "second", piece_address + 16 * piece_bytes}
    {
    }
};

}  // namespace cohort::test
