"""All rules: those of memory, of ports and of the action channel are beside."""

from ipc_mutations import IPC_MUTATIONS
from memory_mutations import MEMORY_MUTATIONS
from mutation import Mutation
from port_mutations import PORT_MUTATIONS

RING = "runtime/include/cohort/ring/ring.hpp"
RING_CLAIM = "runtime/include/cohort/ring/ring_claim.hpp"
RING_REPAIR = "runtime/src/ring/ring.cpp"
CLONE = "runtime/src/packet/mbuf_clone.cpp"
LOCK = "runtime/include/cohort/sync/owner_lock.hpp"
POOL = "runtime/include/cohort/pool/mempool.hpp"
ROBUST = "runtime/src/member/robust_lock.cpp"
RECOVERY = "runtime/src/recovery/buffer_recovery.cpp"

MUTATIONS = [
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
        "who lets elements pass a stage wakes who sleeps behind it",
        "runtime/src/ring/stage.cpp",
        "            stage.bell.ring_if_armed();\n",
        "",
        "[stages][wait]",
    ),
    Mutation(
        "who gives a batch back wakes who sleeps in its stage",
        "runtime/src/ring/stage.cpp",
        "    bell_before(ring, number).ring_if_armed();\n",
        "",
        "[stages][wait]",
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
        "            armed = bell_.arm();\n",
        "            armed = bell_.arm();\n"
        "            bell_.sleep(armed, until);\n"
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
        "the thread behind a descriptor sees that it is to end",
        "runtime/src/ring/event_thread.cpp",
        "        if (stop_.load(std::memory_order_acquire))\n"
        "            return;\n"
        "        looks_.wait(0, std::memory_order_acquire);\n",
        "        looks_.wait(0, std::memory_order_acquire);\n",
        "a descriptor for epoll that goes*",
    ),
    Mutation(
        "who unlocks wakes a sleeper",
        ROBUST,
        "    futex_wake(&word_, 1);\n",
        "    static_cast<void>(word_);\n",
        "who unlocks wakes a sleeper*",
    ),
    Mutation(
        "the audit waits for members to give back what nobody asked for",
        "runtime/src/memory/memory_audit.cpp",
        "deadline_in(patience); steady_clock",
        "deadline_in(1ms); steady_clock",
        "pages that the kernel makes around*",
        suite="process",
    ),
    Mutation(
        "what the kernel makes around pages is no fault while it may",
        "runtime/src/memory/memory_audit.cpp",
        "shared_thp_allowed(list.transparent != 0)",
        "false",
        "pages that the kernel makes around*",
        suite="process",
    ),
    *MEMORY_MUTATIONS,
    *IPC_MUTATIONS,
    *PORT_MUTATIONS,
]
