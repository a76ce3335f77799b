#pragma once
/// The null port: packets from nowhere and to nowhere, to measure and to test without a device.
///
///   rx   as many packets as are asked for, of one size, from the queue's pool
///   tx   frees what it gets
///
/// A member killed at it: what its hands held goes back to the pools with the member; its last
/// burst may be missing in the counters.

namespace cohort {

/// Once per process; see register_builtin_drivers.
void register_null_driver();

}  // namespace cohort
