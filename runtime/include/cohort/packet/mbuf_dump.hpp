#pragma once
/// A packet as text, as rte_pktmbuf_dump shows it: each segment, where its data is, who holds it,
/// what happened to it last if the pool keeps that, and the first bytes.
///
/// *Thread safety*: a snapshot; exact for who holds the packet.
/// *When a process dies here*: nothing was written.

#include "cohort/packet/mbuf.hpp"

#include <string>

namespace cohort {

[[nodiscard]] std::string dump(const mbuf& packet, std::size_t bytes = 64);

}  // namespace cohort
