// Heaps over memory that users bring: who has attached it, and what others leave to them.

#include "support/lost_thread.hpp"
#include "support/sound_heap.hpp"
#include "unit/with_piece.hpp"

#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// As a member does that is killed in the middle of a call.
void lose_the_lock_of(const heap& from, scratch_domain& domain)
{
    test::run_and_lose([&] {
        auto& lock = const_cast<heap_layout&>(from.layout()).lock;
        static_cast<void>(
            lock.lock(domain->members().lane(), deadline_in(1s), [](lane_id) { return false; }));
    });
}

}  // namespace

TEST_CASE("a member that has not attached all memory is refused and touches none", "[heap]")
{
    with_piece given;
    auto& heap = given.own;
    const shared_piece second{given.files.path() / "second", piece_address + 16 * piece_bytes};
    const auto piece = given.piece.bytes();
    auto* block = heap.malloc(100);
    const auto refused = [](bool failed) {
        return failed && heap::last_failure().reason == errc::not_attached;
    };

    heap.detach_memory(piece);
    heap.detach_memory(piece);  // once more changes nothing
    REQUIRE(::mprotect(piece.data(), piece.size(), PROT_NONE) == 0);

    CHECK_FALSE(heap.is_attached());
    CHECK(refused(heap.malloc(100) == nullptr));
    CHECK(refused(!heap.free(block)));
    CHECK(heap.realloc(block, 1000) == nullptr);
    CHECK_FALSE(heap.trim());
    CHECK_THAT(heap.find_fault().value(), Catch::Contains("attach_memory"));
    CHECK(refusal_of([&] { heap.remove_memory(piece); }) == errc::not_attached);
    CHECK(refusal_of([&] { heap.add_memory(second.bytes()); }) == errc::not_attached);
    CHECK(heap.usable_bytes(block) == 0);
    CHECK_FALSE(given.domain->heap_of(block).has_value());
    CHECK(given.domain.audit().clean());

    REQUIRE(::mprotect(piece.data(), piece.size(), PROT_READ | PROT_WRITE) == 0);
    heap.attach_memory(piece);
    heap.attach_memory(piece);
    CHECK(heap.is_attached());
    CHECK(heap.usable_bytes(block) == 112);
    CHECK(given.domain->heap_of(block).has_value());
    CHECK(heap.free(block));
    heap.add_memory(second.bytes());
    require_sound(heap);
}

TEST_CASE("one piece that is not attached is enough to be refused", "[heap]")
{
    with_piece given;
    const shared_piece second{given.files.path() / "second", piece_address + 16 * piece_bytes};
    auto* block = given.own.malloc(100);
    given.own.add_memory(second.bytes());
    given.own.detach_memory(second.bytes());

    CHECK(given.own.malloc(100) == nullptr);
    CHECK_FALSE(given.own.free(block));
    CHECK(given.own.usable_bytes(block) == 112);  // of the piece that is attached

    given.own.attach_memory(second.bytes());
    CHECK(given.own.free(block));
    require_sound(given.own);
}

TEST_CASE("what is attached must be the memory that was added", "[heap]")
{
    with_piece given;
    const shared_piece another{given.files.path() / "another", piece_address + 16 * piece_bytes};
    const auto attaching = [&](std::span<std::byte> piece) {
        return refusal_of([&] { given.own.attach_memory(piece); });
    };
    given.own.detach_memory(given.piece.bytes());

    CHECK(attaching(another.bytes()) == errc::not_found);
    CHECK(attaching(part(given.piece.bytes(), 0, 8192)) == errc::not_found);
    CHECK(attaching(part(given.piece.bytes(), 16, 8192)) == errc::invalid_argument);
    const auto piece = given.piece.bytes();
    REQUIRE(::mmap(piece.data(), piece.size(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == piece.data());
    CHECK(attaching(piece) == errc::invalid_argument);
    REQUIRE(::munmap(piece.data(), piece.size()) == 0);
    CHECK(attaching(piece) == errc::invalid_argument);
    CHECK_FALSE(given.own.is_attached());
}

TEST_CASE("a private mapping of the very file is refused, and one page of it is enough", "[heap]")
{
    with_piece given;
    const auto file = given.files.path() / "piece";
    const auto piece = given.piece.bytes();
    const auto page = part(piece, 64 * 4096, 4096);
    const auto map = [&](std::span<std::byte> where, int flags) {
        const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
        void* at = ::mmap(where.data(), where.size(), PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd,
                          where.data() - piece.data());
        ::close(fd);
        REQUIRE(at == where.data());
    };
    given.own.detach_memory(piece);

    for (const auto& where : {piece, page}) {
        map(where, MAP_PRIVATE);
        CHECK_THROWS_WITH(given.own.attach_memory(piece),
                          Catch::Contains("is mapped private here (\"") &&
                              Catch::Contains("rw-p") && Catch::Contains("MAP_SHARED"));
        CHECK_FALSE(given.own.is_attached());
        map(piece, MAP_SHARED);
    }
    const auto hole = part(piece, 0, 4096);
    map(hole, MAP_PRIVATE);
    CHECK(refusal_of([&] { given.domain->create_heap("other").add_memory(hole); }) ==
          errc::invalid_argument);

    map(piece, MAP_SHARED);
    given.own.attach_memory(piece);
    auto* block = given.own.malloc(100);
    CHECK(block != nullptr);
    CHECK(given.own.free(block));
    require_sound(given.own);
}

TEST_CASE("memory that nobody has attached can be forgotten, with its blocks", "[heap]")
{
    with_piece given;
    const shared_piece second{given.files.path() / "second", piece_address + 16 * piece_bytes};
    given.own.add_memory(second.bytes());
    std::vector<void*> blocks;
    for (int i = 0; i != 100; ++i)
        blocks.push_back(given.own.malloc(15'000));
    const auto forgetting = [&](std::span<std::byte> piece) {
        return refusal_of([&] { given.own.forget_memory(piece); });
    };
    CHECK(forgetting(second.bytes()) == errc::in_use);
    CHECK(forgetting(part(second.bytes(), 0, 8192)) == errc::not_found);

    given.own.detach_memory(second.bytes());
    CHECK(given.own.malloc(10) == nullptr);
    CHECK(forgetting(second.bytes()) == std::nullopt);

    CHECK(given.own.layout().counters.arenas == 1);
    require_sound(given.own);
    for (auto* block : blocks)
        CHECK(given.own.free(block) == given.piece.holds(block));
    require_sound(given.own);
    given.own.remove_memory(given.piece.bytes());
    CHECK(given.domain->destroy_heap("own"));
}

TEST_CASE("who has not attached the memory leaves a dead holder's repair to who has", "[heap]")
{
    with_piece given;
    auto* block = given.own.malloc(100);
    given.own.detach_memory(given.piece.bytes());
    lose_the_lock_of(given.own, given.domain);

    CHECK(given.own.malloc(10) == nullptr);
    CHECK(heap::last_failure().reason == errc::not_attached);
    CHECK(given.own.layout().unsound == 1);
    CHECK(given.own.layout().repairs == 0);

    given.own.attach_memory(given.piece.bytes());
    CHECK(given.own.layout().unsound == 0);
    CHECK(given.own.layout().repairs == 1);
    CHECK(given.own.free(block));
    require_sound(given.own);
}

}  // namespace cohort::test
