"""Rules of growth: of pools, of heaps, and of the pages below."""

from mutation import Mutation

POOL_GROWTH = "runtime/src/pool/pool_growth.cpp"
PAGES = "runtime/src/memory/page_supply.cpp"
ARENAS = "runtime/src/memory/heap_arenas.cpp"

MEMORY_MUTATIONS = [
    Mutation(
        "a chunk of a pool is written before it is listed",
        POOL_GROWTH,
        "    chunk_at(pool, place) = chunk;\n"
        '    COHORT_FAULT_POINT("pool.chunk_written");\n'
        "    pool.chunk_count.store(place + 1, std::memory_order_release);  // LISTED\n",
        "    pool.chunk_count.store(place + 1, std::memory_order_release);  // LISTED\n"
        '    COHORT_FAULT_POINT("pool.chunk_written");\n'
        "    chunk_at(pool, place) = chunk;\n",
        "a member killed while it grows a pool leaves one*",
        suite="fault",
    ),
    Mutation(
        "a chunk that a dead member has listed stays with its pool",
        POOL_GROWTH,
        "            is_listed(segments.layout(), zone)) {\n",
        "            is_listed(segments.layout(), zone) && word.member == 0) {\n",
        "a member killed while it grows a pool leaves one*",
        suite="fault",
    ),
    Mutation(
        "chunks go with the pool that a dead member was destroying",
        POOL_GROWTH,
        "        if (word.state == zone_state::dying && zone.kind == zone_kind::mempool)\n",
        "        if (word.state == zone_state::dying && zone.kind == zone_kind::capture)\n",
        "a member killed while it grows a pool leaves one*",
        suite="fault",
    ),
    Mutation(
        "objects of a new chunk are in the hands of who has made them",
        "runtime/src/domain/pools.cpp",
        "            .store(membership_.holder(), std::memory_order_relaxed);  // LISTED\n",
        "            .store(0, std::memory_order_relaxed);\n",
        "a member killed while it grows a pool leaves one*",
        suite="fault",
    ),
    Mutation(
        "a growth that comes to nothing gives back the pages that it had got",
        PAGES,
        "            for (std::size_t undone = 0; undone <= made; ++undone)\n"
        "                punch(index, missing[undone]);\n",
        "",
        "[memory]",
    ),
    Mutation(
        "a growth keeps to the limits",
        PAGES,
        "    check_limits(list, count * list.page_bytes);\n",
        "",
        "a limit of a node or of a page size is kept*",
    ),
    Mutation(
        "a growth asks the validators",
        PAGES,
        "    if (watch_ && !watch_->allows({",
        "    if (watch_ && more == 0 && !watch_->allows({",
        "a validator decides on the growth*",
        suite="process",
    ),
    Mutation(
        "who takes the memory lock over repairs the pages first",
        "runtime/src/memory/memory_guard.hpp",
        "        if (result == lock_result::taken_over)\n",
        "        if (result == lock_result::stalled)\n",
        "a member killed at work costs the others nothing",
        suite="fault",
    ),
    Mutation(
        "pages are withdrawn before they are gone",
        PAGES,
        "        page_map{list}.withdraw(gone);\n"
        '        COHORT_FAULT_POINT("memory.withdrawn");\n'
        "        list.published.fetch_sub(count * list.page_bytes,"
        " std::memory_order_relaxed);  // locked\n"
        "        punch(index, gone);\n",
        "        punch(index, gone);\n"
        '        COHORT_FAULT_POINT("memory.withdrawn");\n'
        "        page_map{list}.withdraw(gone);\n"
        "        list.published.fetch_sub(count * list.page_bytes, std::memory_order_relaxed);\n",
        "a page that is published exists*",
        suite="fault",
    ),
    Mutation(
        "some idle pages stay, so that a span at their edge makes none",
        PAGES,
        "    const auto keep = keep_bytes / list.page_bytes;\n",
        "    const std::uint64_t keep = keep_bytes * 0;\n",
        "[pages]",
    ),
    Mutation(
        "one arena that is wholly free stays",
        ARENAS,
        "        heap_.counters.free_arenas.load(std::memory_order_relaxed) > 1)  // locked\n",
        "        heap_.counters.free_arenas.load(std::memory_order_relaxed) > 0)\n",
        "an arena that has become empty is given back*",
    ),
    Mutation(
        "an arena is off the bins before its memory goes",
        ARENAS,
        "    unlist(arena);\n    auto& zone = ",
        "    auto& zone = ",
        "an arena that has become empty is given back*",
    ),
]
