// Heaps over memory that users bring, as one member uses them.

#include "cohort/domain/heap.hpp"
#include "support/sound_heap.hpp"
#include "unit/with_piece.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

TEST_CASE("an external heap is found by its name, and so is one of a node", "[heap]")
{
    scratch_domain domain;
    auto made = domain->create_heap("own");

    CHECK(made.name() == "own");
    CHECK(made.is_external());
    CHECK(&domain->find_heap("own").value().layout() == &made.layout());
    CHECK_FALSE(domain->find_heap("nobody's").has_value());
    const auto of_node = domain->heap();
    CHECK(&domain->find_heap("heap.0").value().layout() == &of_node.layout());
    CHECK_FALSE(of_node.is_external());
}

TEST_CASE("a name that is taken, too long or the domain's own makes no heap", "[heap]")
{
    scratch_domain domain;
    static_cast<void>(domain->create_heap("own"));
    const auto creating = [&](const std::string& name) {
        return refusal_of([&] { static_cast<void>(domain->create_heap(name)); });
    };
    CHECK(creating("own") == errc::exists);
    CHECK(creating(std::string(32, 'x')) == errc::name_too_long);
    CHECK(creating("") == errc::invalid_argument);
    CHECK(creating("heap.0") == errc::no_permission);
    CHECK(creating("heap.77") == errc::no_permission);
    CHECK(creating("cohort.messages") == errc::no_permission);
    CHECK(creating(std::string(31, 'x')) == std::nullopt);
}

TEST_CASE("a heap is destroyed when it has no memory, and its name is free", "[heap]")
{
    with_piece given;
    static_cast<void>(given.domain->heap());

    CHECK(refusal_of([&] { given.domain->destroy_heap("own"); }) == errc::in_use);
    CHECK(refusal_of([&] { given.domain->destroy_heap("heap.0"); }) == errc::no_permission);
    CHECK_FALSE(given.domain->destroy_heap("nobody's"));

    given.own.remove_memory(given.piece.bytes());
    CHECK(given.domain->destroy_heap("own"));
    CHECK_FALSE(given.domain->find_heap("own").has_value());
    CHECK_FALSE(given.domain->destroy_heap("own"));
    static_cast<void>(given.domain->create_heap("own"));
}

TEST_CASE("blocks of an external heap lie in the memory it was given, and all of it serves",
          "[heap]")
{
    with_piece given;
    auto& heap = given.own;
    auto* block = static_cast<char*>(heap.zmalloc(1000));
    REQUIRE(given.piece.holds(block));
    std::memset(block, 'x', 1000);

    auto* grown = static_cast<char*>(heap.realloc(block, 100'000));
    REQUIRE(given.piece.holds(grown));
    CHECK(std::all_of(grown, grown + 1000, [](char each) { return each == 'x'; }));
    auto* aligned = heap.allocate({.bytes = 5000, .alignment = 4096, .boundary = 8192});
    CHECK(given.piece.holds(aligned));
    CHECK(heap.usable_bytes(grown) >= 100'000);
    CHECK(heap.info(aligned).value().owner == given.domain->self().id);
    CHECK(heap.free(grown));
    CHECK(heap.free(aligned));
    require_sound(heap);

    auto* all = heap.malloc(piece_bytes - heap_arena_overhead - sizeof(heap_block));
    CHECK(all != nullptr);
    CHECK(heap.free(all));
    require_sound(heap);
}

TEST_CASE("an external heap without room says what it has and does not grow", "[heap]")
{
    with_piece given;
    const auto free_before = given.own.layout().counters.bytes.load();

    CHECK(given.own.malloc(2 * piece_bytes) == nullptr);
    CHECK(heap::last_failure().reason == errc::no_memory);
    const auto largest = piece_bytes - heap_arena_overhead - sizeof(heap_block);
    CHECK_THAT(heap::last_failure().sentence, Catch::Contains(bytes_text(2 * piece_bytes)) &&
                                                  Catch::Contains(bytes_text(largest)) &&
                                                  Catch::Contains("add_memory"));
    CHECK(given.own.layout().counters.bytes == free_before);

    auto empty = given.domain->create_heap("empty");
    CHECK(empty.malloc(1) == nullptr);
    CHECK(heap::last_failure().reason == errc::no_memory);
}

TEST_CASE("memory that became free stays in an external heap", "[heap]")
{
    with_piece given;
    shared_piece second{given.files.path() / "second", piece_address + 16 * piece_bytes};
    given.own.add_memory(second.bytes());
    auto* in_one = given.own.malloc(600'000);
    auto* in_other = given.own.malloc(600'000);
    CHECK(given.piece.holds(in_one) != given.piece.holds(in_other));

    CHECK(given.own.free(in_one));
    CHECK(given.own.free(in_other));
    CHECK(given.own.trim());

    CHECK(given.own.layout().counters.arenas == 2);
    CHECK(given.own.layout().counters.free_arenas == 2);
    require_sound(given.own);
}

TEST_CASE("memory that cannot be a heap's is refused and left as it was", "[heap]")
{
    with_piece given;
    auto& heap = given.own;
    auto other = given.domain->create_heap("other");
    const shared_piece fresh{given.files.path() / "fresh", piece_address + 16 * piece_bytes};
    const auto good = fresh.bytes();
    const auto adding = [&](std::span<std::byte> piece) {
        return refusal_of([&] { heap.add_memory(piece); });
    };

    CHECK(adding(part(good, 16, piece_bytes / 2)) == errc::invalid_argument);
    CHECK(adding(part(good, 0, 64 * 1024 + 16)) == errc::invalid_argument);
    CHECK(adding(part(good, 0, 4096 - 64)) == errc::invalid_argument);
    CHECK(adding({}) == errc::invalid_argument);
    CHECK(adding(part(good, 0, 2 * piece_bytes)) == errc::invalid_argument);  // a hole behind
    CHECK(adding(part(good, 0, max_external_bytes + 64)) == errc::invalid_argument);
    CHECK(adding(given.piece.bytes()) == errc::exists);
    CHECK(adding(part(given.piece.bytes(), 4096, 8192)) == errc::exists);
    CHECK(refusal_of([&] { other.add_memory(given.piece.bytes()); }) == errc::exists);
    CHECK(adding(given.domain->reserve_memzone("zone", 64_KiB)) == errc::exists);
    REQUIRE(::mprotect(good.data(), good.size(), PROT_READ) == 0);
    CHECK(adding(good) == errc::invalid_argument);
    CHECK(std::all_of(good.begin(), good.end(), [](auto each) { return each == std::byte{}; }));
    REQUIRE(::mprotect(good.data(), good.size(), PROT_READ | PROT_WRITE) == 0);

    CHECK(adding(good) == std::nullopt);
    require_sound(heap);
}

TEST_CASE("the memory of a node's heap is not the user's to change", "[heap]")
{
    with_piece given;
    auto heap = given.domain->heap();
    const auto piece = given.piece.bytes();
    CHECK(refusal_of([&] { heap.add_memory(piece); }) == errc::no_permission);
    CHECK(refusal_of([&] { heap.remove_memory(piece); }) == errc::no_permission);
    CHECK(refusal_of([&] { heap.attach_memory(piece); }) == errc::no_permission);
    CHECK(refusal_of([&] { heap.detach_memory(piece); }) == errc::no_permission);
    CHECK(refusal_of([&] { heap.forget_memory(piece); }) == errc::no_permission);
    CHECK(heap.is_attached());
}

TEST_CASE("memory is removed when no block of it is used, and only as it was added", "[heap]")
{
    with_piece given;
    const auto piece = given.piece.bytes();
    const auto removing = [&](std::span<std::byte> what) {
        return refusal_of([&] { given.own.remove_memory(what); });
    };
    auto* block = given.own.malloc(100);
    auto* aside = given.own.malloc(100);
    CHECK(given.own.free(aside));

    CHECK(removing(part(piece, 0, piece_bytes / 2)) == errc::not_found);
    CHECK(removing(part(piece, 4096, piece_bytes - 4096)) == errc::not_found);
    CHECK(removing(piece) == errc::in_use);
    require_sound(given.own);
    CHECK(given.own.free(block));  // waits aside for its next use
    CHECK(removing(piece) == std::nullopt);

    CHECK(given.own.layout().counters.bytes == 0);
    CHECK(given.own.malloc(100) == nullptr);
    CHECK(removing(piece) == errc::not_found);
    require_sound(given.own);
    given.own.add_memory(piece);
    CHECK(given.own.free(given.own.malloc(100)));
    require_sound(given.own);
}

TEST_CASE("a heap has at most 64 pieces of memory", "[heap]")
{
    scratch_directory files;
    scratch_domain domain;
    const shared_piece all{files.path() / "all"};
    auto heap = domain->create_heap("own");
    for (std::size_t i = 0; i != max_heap_memories; ++i)
        heap.add_memory(part(all.bytes(), i * 8192, 8192));
    const auto one_more = part(all.bytes(), max_heap_memories * 8192, 8192);

    CHECK(refusal_of([&] { heap.add_memory(one_more); }) == errc::no_space);
    heap.remove_memory(part(all.bytes(), 8192, 8192));
    heap.add_memory(one_more);

    require_sound(heap);
    CHECK(heap.layout().counters.arenas == max_heap_memories);
}

TEST_CASE("a block is freed by its own heap only", "[heap]")
{
    with_piece given;
    const shared_piece fresh{given.files.path() / "fresh", piece_address + 16 * piece_bytes};
    std::vector<heap> heaps{given.own, given.domain->create_heap("other"), given.domain->heap()};
    heaps[1].add_memory(fresh.bytes());
    std::vector<void*> blocks;
    for (auto& each : heaps)
        blocks.push_back(each.malloc(500));

    for (std::size_t i = 0; i != heaps.size(); ++i)
        for (std::size_t j = 0; j != heaps.size(); ++j) {
            if (i == j)
                continue;
            CHECK_FALSE(heaps[i].free(blocks[j]));
            CHECK(heap::last_failure().reason == errc::invalid_argument);
            CHECK(heaps[i].usable_bytes(blocks[j]) == 0);
            CHECK_FALSE(heaps[i].info(blocks[j]).has_value());
            CHECK(heaps[i].realloc(blocks[j], 1000) == nullptr);
        }

    for (std::size_t i = 0; i != heaps.size(); ++i) {
        CHECK(heaps[i].layout().bad_frees == 2);
        CHECK(&given.domain->heap_of(blocks[i]).value().layout() == &heaps[i].layout());
        CHECK(heaps[i].free(blocks[i]));
        CHECK_FALSE(given.domain->heap_of(blocks[i]).has_value());
        require_sound(heaps[i]);
    }
    int on_stack = 0;
    CHECK_FALSE(given.domain->heap_of(&on_stack).has_value());
    CHECK_FALSE(given.domain->heap_of(nullptr).has_value());
}

TEST_CASE("a pointer into external memory that is no used block is refused and counted", "[heap]")
{
    with_piece given;
    auto* block = static_cast<std::byte*>(given.own.zmalloc(1000));
    CHECK_FALSE(given.own.free(block + 16));
    CHECK_FALSE(given.own.free(block + 1));
    CHECK_FALSE(given.own.free(given.piece.bytes().data()));
    CHECK_FALSE(given.own.free(given.piece.bytes().data() + piece_bytes));
    CHECK(given.own.free(block));
    CHECK_FALSE(given.own.free(block));
    CHECK(given.own.layout().bad_frees == 5);
    require_sound(given.own);
}

TEST_CASE("two external heaps, one of them with two pieces, serve side by side", "[heap]")
{
    with_piece given;
    const shared_piece second{given.files.path() / "second", piece_address + 16 * piece_bytes};
    const shared_piece third{given.files.path() / "third", piece_address + 32 * piece_bytes};
    auto other = given.domain->create_heap("other");
    other.add_memory(second.bytes());
    other.add_memory(third.bytes());
    std::mt19937 random{1};
    std::vector<std::pair<heap*, void*>> blocks;

    for (int i = 0; i != 20'000; ++i) {
        auto* from = random() % 2 == 0 ? &given.own : &other;
        if (auto* block = from->malloc(random() % 3000))
            blocks.emplace_back(from, block);
        if (blocks.size() > 300) {
            std::swap(blocks[random() % blocks.size()], blocks.back());
            REQUIRE(blocks.back().first->free(blocks.back().second));
            blocks.pop_back();
        }
    }

    require_sound(given.own);
    require_sound(other);
    for (const auto& [from, block] : blocks) {
        CHECK(given.piece.holds(block) == (from == &given.own));
        REQUIRE(from->free(block));
    }
    require_sound(given.own);
    require_sound(other);
    CHECK(used_blocks(given.own) + used_blocks(other) == 0);
}

}  // namespace cohort::test
