"""Rules of the sources, each as what it takes to break it, and the tests that must notice.

`before` occurs once in `file`. Tests are those of `suite` that the Catch2 filter `tests` selects; a
`sanitize` kind is for rules of ordering that this machine's processor keeps by itself.
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    rule: str
    file: str
    before: str
    after: str
    tests: str
    suite: str = "unit"
    sanitize: str = ""


RING = "runtime/include/cohort/ring/ring.hpp"
RING_CLAIM = "runtime/include/cohort/ring/ring_claim.hpp"
RING_REPAIR = "runtime/src/ring/ring.cpp"
CLONE = "runtime/src/packet/mbuf_clone.cpp"
LOCK = "runtime/include/cohort/sync/owner_lock.hpp"
POOL = "runtime/include/cohort/pool/mempool.hpp"
ROBUST = "runtime/src/member/robust_lock.cpp"
RECOVERY = "runtime/src/recovery/buffer_recovery.cpp"
CAPTURE = "runtime/src/port/capture_layout.cpp"
JOURNAL = "runtime/src/port/burst_journal.cpp"
PORT = "runtime/src/port/port.cpp"
PORT_HEADER = "runtime/include/cohort/port/port.hpp"
TAP_QUEUE = "runtime/drivers/tap/tap_queue.cpp"

MUTATIONS = [
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
        "a commit is released after what it publishes",
        RING_CLAIM,
        "    own.word.store(done, std::memory_order_release);  // FILLED or FREED\n",
        "    own.word.store(done, std::memory_order_relaxed);\n",
        "[ring]",
        sanitize="thread",
    ),
    Mutation(
        "a consumer acquires what a producer has committed",
        "runtime/include/cohort/ring/ring_layout.hpp",
        "        return ring_word::unpack(word.load(std::memory_order_acquire));  // FILLED or FREED\n",
        "        return ring_word::unpack(word.load(std::memory_order_relaxed));\n",
        "[ring]",
        sanitize="thread",
    ),
    Mutation(
        "a filled slot is released after what its pointer points to",
        "runtime/include/cohort/ring/ring_slots.hpp",
        "__atomic_store_n(slot, word, __ATOMIC_RELEASE);  // FILLED",
        "__atomic_store_n(slot, word, __ATOMIC_RELAXED);",
        "[ring]",
        sanitize="thread",
    ),
    Mutation(
        "a position that has moved since the look makes the claim fail",
        RING_CLAIM,
        "            if (own.word.compare_exchange_strong(seen, mine, std::memory_order_acquire,\n"
        "                                                 std::memory_order_relaxed)) [[likely]]\n"
        "                return {mine, count};\n",
        "            own.word.store(mine, std::memory_order_seq_cst);\n"
        "            return {mine, count};\n",
        "[ring]",
    ),
    Mutation(
        "what has moved since the look fails the claim, in whatever order instructions come",
        RING_CLAIM,
        "            if (own.word.compare_exchange_strong(seen, mine, std::memory_order_acquire,\n"
        "                                                 std::memory_order_relaxed)) [[likely]]\n"
        "                return {mine, count};\n",
        "            own.word.store(mine, std::memory_order_seq_cst);\n"
        "            return {mine, count};\n",
        "[interleaving]",
        suite="fault",
    ),
    Mutation(
        "a dequeue takes custody",
        RING_CLAIM,
        "            if (offset == no_custody)\n                return;\n",
        "            if (offset == no_custody || offset >= 0)\n"
        "                return;\n",
        "a member killed after any instruction of a call lo*",
        suite="fault",
    ),
    Mutation(
        "the reach of a batch of several lines is noted before the first of them",
        RING,
        "    ring.producer.pending.store(reach, std::memory_order_relaxed);  // read after a death\n",
        "    static_cast<void>(reach);\n",
        "a member killed after any instruction of a call lo*",
        suite="fault",
    ),
    Mutation(
        "a bulk takes all or none",
        RING,
        "            return how == detail::amount::burst || taken == count ? taken : 0;\n",
        "            return how == detail::amount::burst || taken <= count ? taken : 0;\n",
        "[ring]",
    ),
    Mutation(
        "what lies behind the gap of a dead producer is emptied",
        RING_REPAIR,
        "    for (auto i = kept; i < pending && i <= ring.mask; ++i)\n",
        "    for (auto i = kept; i < pending && i > ring.mask; ++i)\n",
        "[ring]",
    ),
    Mutation(
        "what a dead producer has published stays",
        RING_REPAIR,
        "    return position + kept;\n",
        "    return position + 0 * kept;\n",
        "[ring]",
    ),
    Mutation(
        "a claim of a live lane is not taken over",
        RING_REPAIR,
        "        if (self.liveness().is_dead(seen.lane)) {\n",
        "        if (self.liveness().is_dead(seen.lane) || round > 10) {\n",
        "[ring]",
    ),
    Mutation(
        "a walk of a ring goes on behind the committed position",
        "runtime/include/cohort/recovery/object_view.hpp",
        "left != 0 && is_published(ring, position); --left)",
        "left != 0 && false; --left)",
        "[ring]",
    ),
    Mutation(
        "a lock is taken from no live holder",
        LOCK,
        "            const bool dead = holder != 0 && is_dead(holder);\n",
        "            const bool dead = holder != 0 && (is_dead(holder) || round == spins);\n",
        "[sync]",
    ),
    Mutation(
        "who takes a lock over is told to repair",
        LOCK,
        "                return dead ? lock_result::taken_over : lock_result::acquired;\n",
        "                return dead ? lock_result::acquired : lock_result::acquired;\n",
        "[sync]",
    ),
    Mutation(
        "an unlock is released after what the lock guards",
        LOCK,
        "        word_.store(next(mine, 0), std::memory_order_release);    // RELEASED\n",
        "        word_.store(next(mine, 0), std::memory_order_relaxed);\n",
        "[heap],[memory]",
        sanitize="thread",
    ),
    Mutation(
        "a clone's end leaves word of the change that it overwrites",
        CLONE,
        "        record.note(seen, lane);  // SEEN\n",
        "",
        "[clone]",
    ),
    Mutation(
        "a buffer that is made pristine leaves word of the last change",
        CLONE,
        "    self.members().references(lane).note(word, lane);  // SEEN\n",
        "",
        "[clone]",
    ),
    Mutation(
        "a change of a count that its lane did not finish is settled",
        "runtime/src/member/reference_layout.cpp",
        "        (word.lane() == lane && word.sequence() == sequence) ||\n",
        "",
        "[clone]",
    ),
    Mutation(
        "what is put carries the word of who has put it",
        POOL,
        "        if (mine)\n",
        "        if (mine || true)\n",
        "what somebody else has put back is given to nobody *",
        suite="process",
    ),
    Mutation(
        "a cache's length says what is in it once that is written",
        POOL,
        "        copy_handles(cache.objects() + length, objects.data(), count);\n"
        "        cache.length.store(length + count, std::memory_order_release);"
        "  // after the objects\n",
        "        cache.length.store(length + count, std::memory_order_release);\n"
        "        copy_handles(cache.objects() + length, objects.data(), count);\n",
        "a member killed after any instruction of a call lo*",
        suite="fault",
    ),
    Mutation(
        "segments of a lost chain are found one by one before the chain comes apart",
        RECOVERY,
        "        custody::word_at(segment, mbuf_custody_offset)"
        ".store(holder_, std::memory_order_release);\n",
        "",
        "a reaper killed at work*",
        suite="fault",
    ),
    Mutation(
        "packets that wait for room belong to the pool, not to a dead member's slot",
        RECOVERY,
        "        recovery_.some_wait.fetch_add(1, std::memory_order_acq_rel);\n",
        "",
        "[death]",
        suite="process",
    ),
    Mutation(
        "the packets of a burst are listed before they are committed",
        JOURNAL,
        "    queue.journal.armed.store(list(queue.journal, 0, packets), in_order);\n",
        "",
        "[journal]",
    ),
    Mutation(
        "what a heap is owed is paid before it is acquitted",
        "runtime/src/memory/heap_debts.cpp",
        "        if (generation != 0)\n            bury(dead, generation, who);\n"
        '        COHORT_FAULT_POINT("heap.paid");\n'
        "        heap_.debts[dead].store(0, std::memory_order_relaxed);  // locked\n",
        '        COHORT_FAULT_POINT("heap.paid");\n'
        "        heap_.debts[dead].store(0, std::memory_order_relaxed);  // locked\n"
        "        if (generation != 0)\n            bury(dead, generation, who);\n",
        "a member killed while it pays what a heap is owed*",
        suite="fault",
    ),
    Mutation(
        "the tail of a stage passes what is done and nothing else",
        "runtime/src/ring/stage.cpp",
        "        if (!word.is_done() || !is_batch(ring, number, position, word))\n",
        "        if (!is_batch(ring, number, position, word))\n",
        "[stages]",
    ),
    Mutation(
        "a lane that is left holds nothing of a stage",
        "runtime/src/ring/stage.cpp",
        "        if (word.holder == lane)\n",
        "        if (word.holder == lane && me == 0)\n",
        "[stages]",
    ),
    Mutation(
        "only what names nobody is divided",
        "runtime/src/ring/stage.cpp",
        "        return {};\n    lost = lost.of(batch_word::nobody);\n",
        "        lost.attempts += 0;\n    lost = lost.of(batch_word::nobody);\n",
        "[stages]",
    ),
    Mutation(
        "a stack takes custody before it lets its slots go",
        "runtime/include/cohort/ring/stack.hpp",
        "        take_custody(items.first(held.count));  // I2: before the commit\n"
        "        commit(held, 0 - held.count);\n",
        "        commit(held, 0 - held.count);\n"
        "        take_custody(items.first(held.count));\n",
        "[stack]",
        suite="fault",
    ),
    Mutation(
        "who arms a bell looks once more before it sleeps",
        "runtime/src/ring/ring_wait.cpp",
        "            armed = other_.bell.arm();\n",
        "            armed = other_.bell.arm();\n"
        "            other_.bell.sleep(armed, until);\n"
        "            armed = 0;\n",
        "who publishes while a thread falls asleep*",
    ),
    Mutation(
        "who gives looks again whether the other lives",
        "runtime/src/domain/custody.cpp",
        "    if (!table.is_live(to))\n        region_",
        "    if (to.id == 0)\n        region_",
        "a packet given to a member*",
        suite="fault",
    ),
    Mutation(
        "what was given to the dead is looked for, also when the giver is dead",
        RECOVERY,
        "                (custody::names_member(word) && !holder_lives(members_, word)));\n",
        "                (custody::names_member(word) && word == 0));\n",
        "so is one whose giver dies*",
        suite="fault",
    ),
    Mutation(
        "what was given to the dead is looked for",
        RECOVERY,
        "                (custody::names_member(word) && !holder_lives(members_, word)));\n",
        "                (custody::names_member(word) && word == 0));\n",
        "[custody]",
    ),
    Mutation(
        "a lane's next life does not pass for the one that held the lock",
        ROBUST,
        "return died || now.generation != word >> 32 || !on_it;",
        "return died || !on_it;",
        "who locks after a lost thread is told*",
    ),
    Mutation(
        "a holder that has left is gone",
        ROBUST,
        "return died || now.generation != word >> 32 || !on_it;",
        "return died || now.generation != word >> 32;",
        "a lock that a thread takes along*",
    ),
    Mutation(
        "who takes a lock over is told",
        ROBUST,
        "return gone ? lock_result::taken_over : lock_result::acquired;",
        "return lock_result::acquired;",
        "[lock]",
        suite="fault",
    ),
    Mutation(
        "an object of another type is refused",
        "runtime/src/domain/objects.cpp",
        "return object.type_hash == hash_of(type.mangled) && object.bytes",
        "return object.bytes",
        "an object is refused as another type*",
    ),
    Mutation(
        "what the dead was writing to a tap interface is not written again",
        TAP_QUEUE,
        "    promise_tx(queue_);\n",
        "",
        "[fault][tap]",
        suite="fault",
    ),
    Mutation(
        "a frame that the dead was writing counts as an error",
        TAP_QUEUE,
        "        queue_.errors.store(queue_.aux[tap_queue_word::errors].load(plain) + 1, in_order);\n",
        "        queue_.errors.store(queue_.aux[tap_queue_word::errors].load(plain), in_order);\n",
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
        "        if (!is_there())\n            return false;\n        look();\n",
        "        look();\n        return true;\n",
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
        "    if (!is_there() || self_->known_lane() == 0 ||",
        "    if (self_->known_lane() == 0 ||",
        "[gone]",
        suite="contract",
    ),
    Mutation(
        "the thread behind a descriptor sees that it is to end",
        "runtime/src/ring/event_thread.cpp",
        "        if (stop_.load(std::memory_order_acquire))\n"
        "            return;\n"
        "        looks_.wait(0, std::memory_order_acquire);\n",
        "        looks_.wait(0, std::memory_order_acquire);\n",
        "a descriptor for epoll that goes*",
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
]
