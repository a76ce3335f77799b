#pragma once
/// Start options as text: what cohortd, and a user's own program, reads from its command line.
///
/// All throw `errc::invalid_argument`, naming the text and what it should look like.

#include "cohort/primary/primary.hpp"

#include <string_view>
#include <vector>

namespace cohort::primary {

/// "64M", "2G", "1048576": bytes, or with K, M, G, T for powers of 1024. Without a letter the
/// number counts `unit` bytes.
[[nodiscard]] std::size_t parse_bytes(std::string_view option, std::string_view text,
                                      std::size_t unit = 1);

/// "512,0,1G": an amount for each node; without a letter in MiB, as DPDK's --numa-mem.
[[nodiscard]] std::vector<std::size_t> parse_amounts(std::string_view option,
                                                     std::string_view text);

/// "2M:512M,4K:1G": at most so much in pages of that size.
[[nodiscard]] std::vector<page_limit> parse_page_limits(std::string_view option,
                                                        std::string_view text);

/// "auto", "2M", "1G" or "none".
[[nodiscard]] huge_policy parse_huge(std::string_view option, std::string_view text);

/// "551000000000" or "0x551000000000".
[[nodiscard]] std::uintptr_t parse_address(std::string_view option, std::string_view text);

/// A group that the system knows by that name, or its number.
[[nodiscard]] unsigned parse_group(std::string_view option, std::string_view text);

}  // namespace cohort::primary
