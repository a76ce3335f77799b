#pragma once
/// Sleeping at an rx queue in place of polling it: `port::rx_wait`, `port::rx_fd`, `port::rx_arm`.
///
///   while (...) {
///       if (const auto count = port.rx_burst(queue, packets); count != 0)
///           work(packets.first(count));
///       else if (port.rx_wait(queue, deadline_in(1s)) == rx_wake::gone)
///           break;
///   }
///
/// The same with a descriptor, for a loop around epoll that has more to wait for (what
/// rte_eth_dev_rx_intr_ctl_q_get_fd and rte_eth_dev_rx_intr_enable are for):
///
///   epoll_ctl(loop, EPOLL_CTL_ADD, port.rx_fd(queue), ...)     EPOLLIN, level-triggered
///   ... when it is readable, and whenever else the loop wants ...
///       while (count = port.rx_burst(queue, packets)) work(...);
///       port.rx_arm(queue);
///
/// *rx_wait* returns `ready` when a burst is worthwhile, `nothing` at the deadline, and `gone` when
/// there is no such queue, or no port any more. While the port or the queue is stopped, or the
/// queue is another lane's, it waits as well, and tries to own the queue. So who sleeps behind an
/// owner that dies has the queue afterwards, and a port that is started anew wakes.
///
/// *rx_fd* is a descriptor of this handle, made when first asked for and closed with the handle;
/// never close it. Each driver has one: it is an epoll instance around what the driver waits for.
/// Throws `errc::invalid_argument` when there is no such queue, `errc::system` when no descriptor
/// is left (or no thread: a ring port has one for each such queue, see
/// drivers/ring/ring_watch.hpp).
///
/// *rx_arm* is called before each sleep at that descriptor, after the last burst. What comes after
/// it makes the descriptor readable, and so does what had come before it, unseen by the burst:
/// nothing is lost in between. It returns `ready` when a burst is worthwhile at once (then the
/// descriptor is readable, so that it need not be regarded), `nothing` when not, and `gone` as
/// above; of a port that is gone the descriptor stays readable. Before the first call it is
/// readable. Without the call it may never become so, or stay so.
///
/// While the queue is stopped the descriptor is quiet, whatever waits at the device. Each change of
/// the port, and of any queue of it, wakes it.
///
/// `ready` promises no packet: others wake the same descriptor, and a queue whose pool is empty is
/// polled. The null port is always ready, and so is a pcap port until the end of its file, but for
/// one with a rate, which is ready when the next packet is due. One at an interface sleeps as
/// packet sockets do.
///
/// *Thread safety*: rx_wait and rx_arm as rx_burst: by the lane that owns the queue, or wants it.
/// Of one handle only one thread at a time sleeps at a queue's descriptor: a call of rx_arm that
/// does not get the queue takes the device out of it. rx_fd by any thread. The descriptor may be
/// polled by any thread. Those who only poll pay nothing for it. *When a process dies here*: it
/// owned a queue, no more; the next lane that bursts or waits has it. Nothing is shared but the
/// bell of a ring, which costs its publisher one vain wake. *When the port or the queue stops, or
/// goes*: rx_wait lets go of the queue within a slice of 100 ms; so nobody who stops, sets up or
/// destroys a port waits for a sleeper longer. The descriptor becomes readable at the next look of
/// this process's dispatcher, 100 ms apart; a burst or rx_arm then lets go. *When not to use*: at a
/// busy queue: polling costs less than sleeping.

#include <cstdint>

namespace cohort {

enum class rx_wake : std::uint8_t { nothing, ready, gone };

}  // namespace cohort
