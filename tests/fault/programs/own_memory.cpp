// Scenarios with a heap over memory that this process brings.

#include "cohort/base/error.hpp"
#include "fault_clones.hpp"
#include "fault_member.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"
#include "support/shared_piece.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

namespace cohort::fault_member {
namespace {

constexpr std::size_t lasting_blocks = 3;
constexpr std::size_t lasting_bytes = 3000;
constexpr std::byte mark{0x5a};

/// False when the heap has no such memory.
bool attach_if_there(heap& from, std::span<std::byte> piece)
{
    try {
        from.attach_memory(piece);
        return true;
    } catch (const error& refused) {
        require(refused.reason() == errc::not_found, refused.what());
        return false;
    }
}

void require_sound(heap& from)
{
    const auto fault = from.find_fault();
    require(!fault, fault.value_or(""));
}

/// The blocks that stay when their maker dies, as they were left.
std::vector<void*> lasting_in(const secondary::attachment& domain, const heap& from)
{
    std::vector<void*> found;
    for_each_arena(domain.region().memory, from.layout(), domain.self().id, [&](auto& arena) {
        for_each_block(arena, [&](heap_block& block, block_word word) {
            if (word.is_used())
                found.push_back(block.payload());
        });
    });
    for (auto* each : found) {
        const std::span bytes{static_cast<const std::byte*>(each), lasting_bytes};
        require(std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == mark; }),
                "a block that stays has changed");
    }
    return found;
}

}  // namespace

void use_own_memory(const arguments& given)
{
    const test::shared_piece mapped{given.at(2)};
    const auto first = mapped.bytes().subspan(0, test::piece_bytes / 2);
    const auto second = mapped.bytes().subspan(test::piece_bytes / 2);
    const auto domain = join(given);
    // Whatever a dead predecessor left is taken up.
    auto found = domain->find_heap("own");
    auto heap = found ? *found : domain->create_heap("own");
    const bool had_first = attach_if_there(heap, first);
    if (attach_if_there(heap, second))
        heap.remove_memory(second);  // what was used in it went with its owner
    if (!had_first)
        heap.add_memory(first);
    require_sound(heap);
    require(heap.layout().counters.used_blocks == 0, "blocks of a dead member are left");

    auto* block = mortal(heap, 10'000);
    auto* small = mortal(heap, 100);
    heap.add_memory(second);
    require(heap.free(block), "a block is gone");
    heap.detach_memory(second);
    heap.attach_memory(second);
    heap.detach_memory(second);
    heap.forget_memory(second);
    require_sound(heap);
    heap.add_memory(second);
    require(heap.free(small), "a block is gone");
    for (const auto piece : {first, second})
        heap.remove_memory(piece);
    require(domain->destroy_heap("own"), "the heap is gone");
}

/// Blocks that go and blocks that stay lie between each other. Told to, it keeps the lock.
void owe_blocks(const arguments& given)
{
    const test::shared_piece mapped{given.at(2)};
    const auto domain = join(given);
    auto heap = domain->create_heap("own");
    heap.add_memory(mapped.bytes());
    for (std::size_t i = 0; i != lasting_blocks; ++i) {
        static_cast<void>(mortal(heap, 100));
        auto* lasting = heap.malloc(lasting_bytes);
        require(lasting != nullptr, "the heap is empty");
        std::fill_n(static_cast<std::byte*>(lasting), lasting_bytes, mark);
        static_cast<void>(mortal(heap, 10'000));  // too large to be put aside
        static_cast<void>(mortal(heap, 10'000));
    }
    test::say("holding");
    static_cast<void>(test::hear());
    auto& lock = const_cast<heap_layout&>(heap.layout()).lock;
    static_cast<void>(
        lock.lock(domain->members().lane(), deadline_in(1s), [](lane_id) { return false; }));
    test::say("inside");
    static_cast<void>(test::hear());
}

void see_one_reaped(const secondary::attachment& domain)
{
    const auto& recovery = domain.region().recovery;
    const auto before = recovery.deaths.load();
    test::bind_what_all_bind();
    const auto& waits = domain.region().members.external_waits;
    require(test::eventually([&] { return waits == 0; }), "external memory is not freed");
    test::say("ready");
    require(test::eventually([&] {
                const auto& newest = recovery.obituaries[before % max_obituaries];
                return recovery.deaths.load() > before && newest.reaped_ns != 0 && waits == 0;
            }),
            "nobody is reaped");
}

void await_reaping(const arguments& given)
{
    see_one_reaped(*join(given));
}

void reap_with_memory(const arguments& given)
{
    const test::shared_piece mapped{given.at(2)};
    const auto domain = join(given);
    domain->find_heap("own").value().attach_memory(mapped.bytes());
    see_one_reaped(*domain);
}

void find_what_lasts(const arguments& given)
{
    const test::shared_piece mapped{given.at(2)};
    const auto domain = join(given);
    auto heap = domain->find_heap("own").value();
    heap.attach_memory(mapped.bytes());
    require_sound(heap);
    const auto& layout = heap.layout();
    require(lasting_in(*domain, heap).size() == lasting_blocks, "too many blocks, or too few");
    require(layout.counters.used_blocks == lasting_blocks, "the count of blocks is wrong");
    require(layout.counters.mortal_blocks == 0 && layout.owed == 0, "something is still owed");
    require(std::all_of(std::begin(layout.debts), std::end(layout.debts),
                        [](const auto& debt) { return debt == 0; }),
            "a debt is still noted");
    require(layout.bad_frees == 0, "a block was freed twice");
    // Fresh blocks of the sizes that went overlap nothing that stays.
    std::array<void*, 2 * lasting_blocks> fresh{};
    for (auto& each : fresh)
        std::fill_n(static_cast<std::byte*>(each = mortal(heap, 10'000)), 10'000, std::byte{});
    for (auto* each : fresh)
        require(heap.free(each), "a block is gone");
    require(lasting_in(*domain, heap).size() == lasting_blocks, "too many blocks, or too few");
    heap.detach_memory(mapped.bytes());
}

void inherit(const arguments& given)
{
    const test::shared_piece mapped{given.at(2)};
    const auto domain = join(given);
    auto heap = domain->find_heap("own").value();
    heap.attach_memory(mapped.bytes());
    for (auto* each : lasting_in(*domain, heap))
        require(heap.free(each), "a block is gone");
    heap.remove_memory(mapped.bytes());
    require(domain->destroy_heap("own"), "the heap is gone");
}

}  // namespace cohort::fault_member
