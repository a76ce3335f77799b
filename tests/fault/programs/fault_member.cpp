// fault_member DOMAIN SCENARIO [argument]...: does one kind of work from beginning to end. A test
// names a fault point in COHORT_FAULT, so the program is killed there; if it passes that point less
// often than asked, it ends with exit code 0.
//
//   start           makes the domain and leaves it
//   adopt           takes over the members of a dead primary, and leaves
//   attach          attaches and leaves
//   objects         makes objects of every kind, one larger than the free memory, and destroys them
//   buffers         takes and returns buffers past refill and flush of its cache
//   message         sends to every member and asks it
//   external FILE   makes or takes up a heap over the memory in FILE, in two pieces that come and
//   go heap            takes, resizes and frees blocks; one arena comes and goes; leaves one to be
//   freed repair          says "ready"; told to, loses a thread that has the heap's lock, and
//   repairs it reap            says "ready"; ends when the next death is reaped lose says "ready";
//   told to, loses a thread and ends when its lane is recovered port IN OUT     copies a capture,
//   and what was redelivered of it victim          takes packets, says "holding" and waits to be
//   killed bystander       makes what the others use; obeys "work", "drain", "leave"

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/shared_piece.hpp"

#include <array>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace {

using namespace cohort;
using test::eventually;

using arguments = std::vector<std::string>;

constexpr auto patience = 30s;

void require(bool condition, const std::string& what)
{
    if (!condition)
        throw std::runtime_error{what};
}

std::unique_ptr<secondary::attachment> join(const arguments& given)
{
    return secondary::attach(given[0], patience, given[1]);
}

void start(const arguments& given)
{
    static_cast<void>(
        primary::start({.name = given[0], .memory = 8_MiB, .huge = huge_policy::none}));
}

void adopt(const arguments& given)
{
    static_cast<void>(primary::start({.name = given[0],
                                      .huge = huge_policy::none,
                                      .existing = primary::takeover::adopt,
                                      .patience = patience}));
}

void make_and_destroy(const arguments& given)
{
    const auto domain = join(given);
    domain->create_pktmbuf_pool("short lived", {.count = 128, .cache_size = 8});
    domain->create_ring<mbuf*>("short lived", 32);
    require(!domain->reserve_memzone("short lived", 64_KiB).empty(), "no memzone");
    require(!domain->reserve_memzone("large", 48_MiB).empty(), "memory does not grow");
    require(domain->release_memzone("large"), "a memzone is gone");
    require(domain->destroy_ring("short lived"), "a ring is gone");
    require(domain->destroy_mempool("short lived"), "a pool is gone");
}

void use_buffers(const arguments& given)
{
    const auto domain = join(given);
    auto pool = domain->find_pktmbuf_pool("plain").value();
    std::array<mbuf*, 100> packets{};
    for (int round = 0; round != 2; ++round) {
        for (auto& packet : packets)
            require((packet = pool.alloc()) != nullptr, "the pool is empty");
        for (auto* packet : packets)
            free(packet);
    }
}

void talk(const arguments& given)
{
    const auto domain = join(given);
    auto& actions = domain->actions();
    const auto primary = actions.find_primary();
    require(primary.has_value(), "no primary");
    require(actions.send(*primary, "unheard", "of"), "a message is not delivered");
    require(actions.request_all("unheard", "of", patience).size() == 2, "not all were asked");
}

void* mortal(heap& from, std::size_t bytes, std::size_t alignment = 16)
{
    auto* block = from.allocate({.bytes = bytes, .alignment = alignment, .kept = lifetime::member});
    require(block != nullptr, "the heap is empty");
    return block;
}

void use_heap(const arguments& given)
{
    const auto domain = join(given);
    auto heap = domain->heap();
    auto* small = mortal(heap, 100);
    auto* aligned = mortal(heap, 100, 4096);
    auto* large = mortal(heap, 5'000'000);
    require((small = heap.realloc(small, 50)) != nullptr, "a block does not shrink");
    for (auto* block : {small, large, aligned})
        require(heap.free(block), "a block is gone");
    require(heap.free(mortal(heap, 50)), "a block is gone");
    static_cast<void>(mortal(heap, 50));  // the same again
    require(heap.trim(), "the heap is stalled");
}

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

void repair_heap(const arguments& given)
{
    const auto domain = join(given);
    auto heap = domain->heap();
    auto* block = mortal(heap, 100);
    test::say("ready");
    static_cast<void>(test::hear());
    test::run_and_lose([&] {
        auto& lock = domain->region().memory.zones[heap.layout().index];
        static_cast<void>(static_cast<heap_layout*>(lock.data())
                              ->lock.lock(domain->members().lane(), deadline_in(1s),
                                          [](lane_id) { return false; }));
    });
    require(heap.free(block), "a block is gone");
    require(heap.layout().repairs != 0, "nothing was repaired");
}

void await_reaping(const arguments& given)
{
    const auto domain = join(given);
    const auto& recovery = domain->region().recovery;
    const auto before = recovery.deaths.load();
    test::say("ready");
    require(eventually([&] {
                const auto& newest = recovery.obituaries[before % max_obituaries];
                return recovery.deaths.load() > before && newest.reaped_ns != 0;
            }),
            "nobody is reaped");
}

void lose_a_thread(const arguments& given)
{
    const auto domain = join(given);
    const auto before = domain->region().recovery.lanes_reaped.load();
    test::say("ready");
    static_cast<void>(test::hear());
    auto pool = domain->find_pktmbuf_pool("plain").value();
    test::run_and_lose([&] { require(pool.alloc() != nullptr, "the pool is empty"); });
    require(eventually([&] { return domain->region().recovery.lanes_reaped.load() > before; }),
            "the lane is not recovered");
}

void send_all(port& out, std::span<mbuf*> packets)
{
    while (!packets.empty())
        packets = packets.subspan(out.tx_burst(0, packets));
}

/// What a member killed here had received comes back through the ring "redo".
void copy_capture(const arguments& given)
{
    const auto domain = join(given);
    auto found_redo = domain->find_ring<mbuf*>("redo");
    auto redo = found_redo ? *found_redo : domain->create_ring<mbuf*>("redo", 64);
    if (!domain->find_pktmbuf_pool("captured"))
        domain->create_pktmbuf_pool("captured", {.count = 128,
                                                 .cache_size = 16,
                                                 .policy = recovery_policy::redeliver,
                                                 .redeliver_to = "redo"});
    auto found_port = domain->find_port("copy");
    auto copy = found_port ? std::move(*found_port)
                           : domain->create_port("copy", "pcap:rx=" + given[2] + ",tx=" + given[3],
                                                 {.rx_pool = "captured"});
    std::array<mbuf*, 8> packets{};
    for (;;) {
        const std::span again{packets.data(), redo.dequeue_burst(packets)};
        send_all(copy, again);
        const std::span fresh{packets.data(), copy.rx_burst(0, packets)};
        send_all(copy, fresh);
        if (again.empty() && fresh.empty() && copy.rx_ended(0))
            return;
    }
}

void hold_packets(const arguments& given)
{
    const auto domain = join(given);
    auto work = domain->find_ring<mbuf*>("work").value();
    auto pool = domain->find_pktmbuf_pool("plain").value();
    std::array<mbuf*, 30> received{};
    std::array<mbuf*, 5> fresh{};
    require(work.dequeue_bulk(received) == received.size(), "no work");
    require(pool.alloc_bulk(fresh), "the pool is empty");
    require(pool.alloc_chain(5000) != nullptr, "the pool is empty");
    test::say("holding");
    static_cast<void>(test::hear());
}

/// A member that lives through everything.
class bystander {
public:
    explicit bystander(const arguments& given) : domain_{join(given)}
    {
        // Smaller than what a victim leaves: some packets have to wait for room.
        domain_->create_ring<mbuf*>("again", 6);
        auto work = domain_->create_ring<mbuf*>("work", 64);
        auto plain = domain_->create_pktmbuf_pool("plain", {.count = 512, .cache_size = 32});
        auto kept = domain_->create_pktmbuf_pool("kept", {.count = 256,
                                                          .cache_size = 16,
                                                          .policy = recovery_policy::redeliver,
                                                          .redeliver_to = "again"});
        for (auto* pool : {&plain, &kept})
            for (int i = 0; i != 20; ++i)
                require(work.enqueue(pool->alloc()), "the ring is full");
    }

    void obey(const std::string& command)
    {
        if (command == "work") {
            use_all();
            check_memory();
        }
        if (command == "drain")
            drain();
        test::say("done");
    }

private:
    /// Bits, spans and pages of the segment files agree.
    void check_memory()
    {
        const auto fault = domain_->segments().find_fault(domain_->members().who());
        require(!fault, fault ? fault->c_str() : "");
    }

    void use_all()
    {
        for (const auto* name : {"plain", "kept"}) {
            auto pool = domain_->find_pktmbuf_pool(name).value();
            std::array<mbuf*, 60> packets{};
            require(pool.alloc_bulk(packets), "the pool is empty");
            free_bulk(packets);
            free(pool.alloc_chain(9000));
        }
        auto heap = domain_->heap();
        require(heap.free(heap.malloc(5000)), "the heap is empty");
        const auto fault = heap.find_fault();
        require(!fault, fault.value_or(""));
        auto ring = domain_->create_ring<int>("mine", 4);
        require(ring.enqueue(42), "the ring is full");
        require(domain_->destroy_ring("mine"), "the ring is gone");
    }

    void drain()
    {
        for (const auto* name : {"work", "again", "redo"}) {
            auto ring = domain_->find_ring<mbuf*>(name);
            for (mbuf* packet = nullptr; ring && ring->dequeue(packet);)
                free(packet);
        }
    }

    std::unique_ptr<secondary::attachment> domain_;
};

void stand_by(const arguments& given)
{
    bystander self{given};
    test::say("ready");
    for (auto line = test::hear(); !line.empty() && line != "leave"; line = test::hear())
        self.obey(line);
}

const std::map<std::string, std::function<void(const arguments&)>> scenarios{
    {"start", start},
    {"adopt", adopt},
    {"attach", [](const arguments& given) { static_cast<void>(join(given)); }},
    {"objects", make_and_destroy},
    {"buffers", use_buffers},
    {"message", talk},
    {"external", use_own_memory},
    {"heap", use_heap},
    {"repair", repair_heap},
    {"reap", await_reaping},
    {"lose", lose_a_thread},
    {"port", copy_capture},
    {"victim", hold_packets},
    {"bystander", stand_by},
};

}  // namespace

int main(int argc, char** argv)
{
    const arguments given{argv + 1, argv + argc};
    if (given.size() < 2 || !scenarios.contains(given[1]))
        return 2;
    try {
        scenarios.at(given[1])(given);
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "fault_member {}: {}\n", given[1], failure.what());
        return 1;
    }
}
