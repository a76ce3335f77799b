#pragma once

// What fault_member does with clones, external memory and dynamic fields.

#include "cohort/domain/domain.hpp"

namespace cohort::test {

/// One free function that every member binds, and one that only some do.
void bind_what_all_bind();
void bind_everything();

void use_clones(domain& self);
void use_dynamics(domain& self);

/// Holds, until it is killed: a received packet with a clone, a clone whose packet is freed, and a
/// count that it has announced to change.
void hold_clones(domain& self, pktmbuf_pool& pool, mbuf& received, mbuf& one, mbuf& other);

}  // namespace cohort::test
