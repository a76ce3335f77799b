#pragma once
/// The ring port: rings of mbufs that exist already, as the queues of a port.
///
///   rx queue i   takes from the ring of the i-th rx=NAME
///   tx queue i   adds to the ring of the i-th tx=NAME
///
/// The same ring as rx and tx is a loopback; two ports over two rings, crossed, are a cable.
/// Custody is the rings': what a dead member had received counts as received from the ring, and
/// what it sent is the ring's. Its last burst may be missing in the counters of the port, never in
/// the ring.
///
/// A ring that is destroyed ends the queues over it when they are opened next; destroy the port
/// first.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_ring_driver();

}  // namespace cohort
