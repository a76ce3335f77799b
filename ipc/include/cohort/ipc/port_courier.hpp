#pragma once
/// Descriptors of ports, from member to member over their sockets.
///
/// *Thread safety*: all calls from any thread but a dispatcher's.
/// *When a process dies here*: the connection ends, and the next member is asked. A member that is
/// stopped costs its share of the patience.

#include "cohort/domain/domain.hpp"
#include "cohort/domain/rendezvous.hpp"

namespace cohort::ipc {

/// For `port_host::use`. Both must outlive it.
[[nodiscard]] port_host::courier make_port_courier(domain& shared, const rendezvous& place);

}  // namespace cohort::ipc
