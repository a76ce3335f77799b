"""Rules of ports, their drivers and captures."""

from mutation import Mutation

CAPTURE = "runtime/src/port/capture_layout.cpp"
JOURNAL = "runtime/src/port/burst_journal.cpp"
PORT = "runtime/src/port/port.cpp"
PORT_HEADER = "runtime/include/cohort/port/port.hpp"
TAP_QUEUE = "runtime/drivers/tap/tap_queue.cpp"
FRAME_TX = "runtime/drivers/frame_tx.cpp"
PORT_SETUP = "runtime/src/port/port_setup.cpp"

PORT_MUTATIONS = [
    Mutation(
        "what the kernel turned down is asked for again",
        "runtime/drivers/af_packet/packet_queue.cpp",
        "(most != 0 || was_turned_down()) &&",
        "most != 0 &&",
        "packets that the kernel turns down*",
        suite="process",
    ),
    Mutation(
        "what the driver did not accept is not captured",
        CAPTURE,
        "    const auto published = std::min(count, written_);\n",
        "    const auto published = written_;\n",
        "[capture]",
    ),
    Mutation(
        "a record is not written over what has not been read",
        CAPTURE,
        "    if (end_ + skipped + bytes - tail > capture_stream_bytes)\n",
        "    if (end_ + skipped + bytes - tail > 2 * capture_stream_bytes)\n",
        "[capture]",
    ),
    Mutation(
        "the packets of a burst are listed before they are committed",
        JOURNAL,
        "    queue.journal.armed.store(list(queue.journal, 0, packets), in_order);\n",
        "",
        "[journal]",
    ),
    Mutation(
        "what the dead was writing to a tap interface is not written again",
        FRAME_TX,
        "    promise_tx(queue_);\n",
        "",
        "[fault][tap]",
        suite="fault",
    ),
    Mutation(
        "a frame that the dead was writing counts as an error",
        FRAME_TX,
        "        queue_.errors.store(queue_.aux[frame_tx_word::errors].load(plain) + 1, in_order);\n",
        "        queue_.errors.store(queue_.aux[frame_tx_word::errors].load(plain), in_order);\n",
        "[fault][tap]",
        suite="fault",
    ),
    Mutation(
        "a frame that the kernel gave to the dead counts as missed",
        TAP_QUEUE,
        "        queue_.missed.fetch_add(1, plain);  // lost with the last owner\n",
        "        queue_.missed.fetch_add(0, plain);\n",
        "[fault][tap]",
        suite="fault",
    ),
    Mutation(
        "a frame that was cut is no packet",
        TAP_QUEUE,
        "    if ((flags & TUN_PKT_STRIP) != 0 || *length == 0) {",
        "    if ((flags & 0x8000) != 0 || *length == 0) {",
        "[tap]",
        suite="process",
    ),
    Mutation(
        "who destroys a tap port detaches its descriptors, which others still have",
        "runtime/drivers/tap/tap_driver.cpp",
        "            detach_tap(file);\n",
        "            static_cast<void>(file);\n",
        "a port that is destroyed*",
        suite="contract",
    ),
    Mutation(
        "a burst asks whether the port is there",
        PORT_HEADER,
        "        return is_there() && queue.owner.holder() == self_->lane() &&\n",
        "        return queue.owner.holder() == self_->lane() &&\n",
        "[gone]",
        suite="contract",
    ),
    Mutation(
        "a count is that of the port that the handle is of",
        PORT_HEADER,
        "        if (!is_there())\n            return false;\n        COHORT_FAULT_POINT",
        "        if (true) {\n            look();\n            return true;\n        }\n        COHORT_FAULT_POINT",
        "[gone]",
        suite="contract",
    ),
    Mutation(
        "nobody writes counters of a port that is gone",
        PORT_HEADER,
        "        there = is_there();\n",
        "        there = true;\n",
        "[gone]",
        suite="contract",
    ),
    Mutation(
        "a queue of a port that is gone is not let go",
        PORT,
        "    if (me == 0 || owner_lock::holder_in(queue.owner.look()) != me || !is_there())\n",
        "    if (me == 0 || owner_lock::holder_in(queue.owner.look()) != me)\n",
        "[gone]",
        suite="contract",
    ),
    Mutation(
        "who sleeps at a ring port hears its bell",
        "runtime/drivers/ring/ring_watch.cpp",
        "    if (ring.count() == 0)\n        ring.producer.bell.sleep(armed, until);\n",
        "    if (ring.count() == 0)\n        std::this_thread::sleep_until(until);\n"
        "    static_cast<void>(armed);\n",
        "who sleeps at an empty queue*",
        suite="contract",
    ),
    Mutation(
        "what was read of a port that has gone meanwhile is dropped",
        PORT_HEADER,
        "  // loads stay in order: THERE\n        return is_there();\n",
        "\n        return true;\n",
        "[fault][port][stop]",
        suite="fault",
    ),
    Mutation(
        "a port that tells of a wish has it",
        PORT_SETUP,
        "        else if ((receives.load(std::memory_order_relaxed) & bit) != 0)",
        "        else if ((receives.fetch_or(bit) & bit) != 0)",
        "a member killed at an interface*",
        suite="fault",
    ),
    Mutation(
        "what the device dropped is added when the memory lock is free again",
        "runtime/drivers/af_packet/af_packet_driver.cpp",
        "                drops_[i] += since.tp_drops;\n",
        "                drops_[i] = since.tp_drops;\n",
        "what a device drops while nobody can count it*",
        suite="contract",
    ),
    Mutation(
        "a queue that is stopped by itself is nobody's",
        PORT,
        " && (now.silent & layout_->bit_of(queue)) == 0;",
        " && layout_->bit_of(queue) != 0;",
        "[port][queue]",
        suite="contract",
    ),
    Mutation(
        "a port starts without what is set up as deferred",
        PORT_SETUP,
        "to == port_state::started ? layout_->deferred() : std::uint16_t{0}",
        "std::uint16_t{0}",
        "[port][queue]",
        suite="contract",
    ),
    Mutation(
        "a capture has packets as they were received",
        "runtime/src/port/port_offload.cpp",
        "    if (is_captured())\n        record_rx(queue, packets);\n    const auto wanted = offloads_now();\n"
        "    if (wanted == port_offloads{})\n        return;\n"
        "    COHORT_FAULT_POINT(\"port.working\");\n"
        "    const auto link = rx_link_of(*layout_);\n"
        "    for (auto* packet : packets)\n        work_on(*packet, wanted, link);\n",
        "    const auto wanted = offloads_now();\n    const auto link = rx_link_of(*layout_);\n"
        "    for (auto* packet : packets)\n        work_on(*packet, wanted, link);\n"
        "    if (is_captured())\n        record_rx(queue, packets);\n",
        "[offload]",
        suite="contract",
    ),
    Mutation(
        "a packet that cannot be sent is counted and does not hold up the others",
        "runtime/src/port/port_offload.cpp",
        "        if (!ready.why)\n            continue;\n",
        "        if (!ready.why)\n            continue;\n        if (ready.why)\n            break;\n",
        "[offload]",
        suite="contract",
    ),
    Mutation(
        "owners keep their queues when another one stops",
        PORT,
        "    seen.phase = phase;\n    return true;\n",
        "    seen.phase = phase;\n    return false;\n",
        "[port][queue]",
        suite="contract",
    ),
    Mutation(
        "who was late to look at a queue lets go of it when it has been stopped meanwhile",
        PORT,
        "    if (is_in(wanted, queue, phase) && of_one_generation(before, phase))\n        return true;\n",
        "    if (is_in(wanted, queue, phase) || of_one_generation(before, phase))\n        return true;\n",
        "[fault][port][stop]",
        suite="fault",
    ),
    Mutation(
        "a descriptor tells nothing of a queue that is stopped",
        "runtime/src/port/rx_wait.cpp",
        "            static_cast<void>(signal->listen_to(-1));  // what waits there is not for this lane\n",
        "            static_cast<void>(signal);\n",
        "[port][queue]",
        suite="contract",
    ),
    Mutation(
        "an rx queue that is deferred while a start is under way does not start",
        PORT_SETUP,
        "    announce_set_up();\n}\n\nvoid port::set_up_tx",
        "}\n\nvoid port::set_up_tx",
        "[fault][port][stop]",
        suite="fault",
    ),
    Mutation(
        "a descriptor tells once of a queue that is stopped",
        "runtime/src/port/rx_wait.cpp",
        "        signal->note(layout_->phase.load(std::memory_order_relaxed), owner);  // compared only\n",
        "        static_cast<void>(owner);\n",
        "[port][queue]",
        suite="contract",
    ),
    Mutation(
        "a tx queue that is deferred while a start is under way does not start",
        PORT_SETUP,
        "    announce_set_up();\n}\n\nvoid port::require_change",
        "}\n\nvoid port::require_change",
        "[fault][port][stop]",
        suite="fault",
    ),
    Mutation(
        "what the dead had taken from libpcap and not delivered is counted",
        "runtime/drivers/pcap/pcap_live.cpp",
        "    queue().aux[live_word::taken].store(position + 1, in_order);  // TAKEN\n",
        "",
        "what the owner of a live capture*",
        suite="process",
    ),
    Mutation(
        "a pcap port does not receive what it sends",
        "runtime/drivers/pcap/pcap_live.cpp",
        "    ::setsockopt(::pcap_fileno(made.get()), SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, "
        "sizeof yes);\n    const int status =\n        wanted.receives ? "
        "::pcap_setdirection(made.get(), PCAP_D_IN) : receive_nothing(made.get());\n",
        "    const int status = wanted.receives ? yes - 1 : receive_nothing(made.get());\n",
        "a pcap port at an interface*",
        suite="process",
    ),
    Mutation(
        "who comes late to a paced file makes up for little",
        "runtime/drivers/pcap/pcap_file.cpp",
        "std::max(when, now - std::min(now, most_arrears_ns))",
        "when",
        "a rate spreads packets*",
    ),
    Mutation(
        "a tap port gives the kernel the sum of the pseudo-header",
        "runtime/drivers/tap/vnet_header.cpp",
        "    store_be16(rewritten(), l4_at + field, pseudo.value_or(0));  // it has one\n",
        "    static_cast<void>(pseudo);\n",
        "a long TCP packet*",
        suite="process",
    ),
    Mutation(
        "a frame without a checksum says what completes it",
        "runtime/drivers/tap/vnet_header.cpp",
        "(found.l4 == l4_kind::tcp ? tx_tcp_cksum : tx_udp_cksum) |",
        "0 |",
        "a frame that the kernel leaves*",
        suite="process",
    ),
    Mutation(
        "what a device has dropped is fetched though nobody asks",
        "runtime/src/port/port_device.cpp",
        "        each->add_drops(now + patience);  // of all together\n",
        "        static_cast<void>(each);\n",
        "what a device has dropped*",
        suite="process",
    ),
]
