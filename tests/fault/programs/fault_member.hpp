#pragma once
// What the scenarios of fault_member have in common, and those that stand in files of their own.

#include "cohort/secondary/secondary.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace cohort::fault_member {

using arguments = std::vector<std::string>;

inline constexpr std::chrono::seconds patience{30};

inline void require(bool condition, const std::string& what)
{
    if (!condition)
        throw std::runtime_error{what};
}

inline std::unique_ptr<secondary::attachment> join(const arguments& given)
{
    return secondary::attach(given[0], patience, given[1]);
}

inline void* mortal(heap& from, std::size_t bytes, std::size_t alignment = 16)
{
    auto* block = from.allocate({.bytes = bytes, .alignment = alignment, .kept = lifetime::member});
    require(block != nullptr, "the heap is empty");
    return block;
}

// fault_start.cpp
void start(const arguments& given);
void start_open(const arguments& given);
void adopt(const arguments& given);
void take_over(const arguments& given);

// fault_interface.cpp
void cross_the_cable(const arguments& given);

// fault_tap.cpp
void go_through_the_tap(const arguments& given);

// fault_pcap.cpp
void go_through_libpcap(const arguments& given);

// fault_inbox.cpp
void spoil_inbox(const arguments& given);
void mend_inbox(const arguments& given);

// fault_xdp.cpp
void go_through_the_socket(const arguments& given);

// fault_stages.cpp
void pass_stages(const arguments& given);
/// What is in the ring in stages comes out in order, `next` first.
void drain_stages(domain& shared, std::uint32_t& next);

// fault_gone.cpp
void send_to_silent_queue(const arguments& given);
void silence_queue(const arguments& given);
void start_deferred_port(const arguments& given);
void defer_queue(const arguments& given);
void use_gone_port(const arguments& given);
void reuse_port_memory(const arguments& given);

// fault_pools.cpp
void grow_pools(const arguments& given);

// own_memory.cpp
void use_own_memory(const arguments& given);
void owe_blocks(const arguments& given);
/// Says "ready", and returns when a death has been reaped.
void see_one_reaped(const secondary::attachment& domain);
void await_reaping(const arguments& given);
void reap_with_memory(const arguments& given);
void find_what_lasts(const arguments& given);
void inherit(const arguments& given);

}  // namespace cohort::fault_member
