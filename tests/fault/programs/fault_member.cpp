// fault_member DOMAIN SCENARIO [argument]...: does one kind of work from beginning to end. A test
// names a fault point in COHORT_FAULT, so the program is killed there; if it passes that point less
// often than asked, it ends with exit code 0.
//
//   start           makes the domain and leaves it
//   open            makes it open to the first group of this process, and leaves it
//   adopt           takes over the members of a dead primary, and leaves
//   hand over       takes over from a live primary, and leaves
//   attach          attaches and leaves
//   objects         makes objects of every kind, one larger than the free memory, and destroys them
//   buffers         takes and returns buffers past refill and flush of its cache
//   pools           takes over a pool that grows, if one is left; grows one, and ends it
//   grow            the same; says "ready" before it grows one, and waits to be told
//   clones          clones, frees and straightens packets; some with memory of its own
//   dynamic         registers a field and a flag
//   message         sends to every member and asks it
//   external FILE   makes or takes up a heap over the memory in FILE; two pieces come and go
//   debtor FILE     makes such a heap, says "holding"; told to, locks it, says "inside"
//   owe FILE        says "ready"; ends when the next death is reaped, without that memory
//   bury FILE       the same with it
//   settle FILE     attaches it and finds what lasts, and nothing else
//   inherit FILE    frees what lasts, and destroys the heap
//   heap            takes, resizes and frees blocks; an arena comes and goes; leaves one block
//   repair          says "ready"; told to, loses a thread with the heap's lock, and repairs it
//   take over       says "ready"; told to, loses a thread with a ring's side, and goes on there
//   stages          says "ready"; told to, loses a thread with packets of a stage, and passes them
//   reap            says "ready"; ends when the next death is reaped
//   lose            says "ready"; told to, loses a thread and ends when its lane is recovered
//   port IN OUT     copies a capture, and what was redelivered of it
//   port life       makes, captures, stops, starts and destroys a port
//   stale, reuse    see fault_gone.cpp; spoiler, mend: fault_inbox.cpp
//   interface       sends numbered packets over a cable, and checks that each has come once
//   xdp             the same into an AF_XDP socket and back, and destroys the ports
//   tap, pcap       the same through a tap interface, or libpcap, where a kill may cost some
//   victim          takes packets, says "holding" and waits to be killed
//   bystander       makes what the others use; obeys "work", "drain", "leave"

#include "fault_member.hpp"

#include "cohort/base/error.hpp"
#include "fault_clones.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"
#include "support/lost_thread.hpp"
#include "support/redelivered.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

namespace {

using namespace cohort;
using namespace cohort::fault_member;
using test::eventually;

void make_and_destroy(const arguments& given)
{
    const auto domain = join(given);
    domain->create_pktmbuf_pool("short lived", {.count = 128, .cache_size = 8});
    domain->create_ring<mbuf*>("short lived", 32);
    domain->create<std::uint64_t>("short lived", 7u);
    require(!domain->reserve_memzone("short lived", 64_KiB).empty(), "no memzone");
    require(!domain->reserve_memzone("large", 48_MiB).empty(), "memory does not grow");
    require(domain->release_memzone("large"), "a memzone is gone");
    require(domain->destroy_ring("short lived"), "a ring is gone");
    require(domain->destroy_object("short lived"), "an object is gone");
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

    // More than a message holds, to itself and to those who refuse it.
    actions.on("mirror", [](ipc::message& received) {
        const std::array fds{received.fds().at(0).get()};
        received.reply(received.text(), fds);
    });
    const std::string large(100'000, 'x');
    const auto file = ipc::new_eventfd();
    const std::array fds{file.get()};
    const auto seen = actions
                          .request_async(ipc::target::group::all, "mirror", large,
                                         {.timeout = patience, .fds = fds})
                          .wait();
    require(seen.size() == 3, "not all were asked");
    require(std::ranges::count(seen, ipc::verdict::replied, &ipc::answer::what) == 1,
            "the mirror is dark");
    require(actions.off("mirror"), "the mirror is gone");
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

/// A thread is lost with the ring's producer side, the later lines of its batch filled, the first
/// not.
void take_ring_over(const arguments& given)
{
    const auto domain = join(given);
    auto work = domain->find_ring<mbuf*>("work").value();
    auto pool = domain->find_pktmbuf_pool("plain").value();
    test::say("ready");
    static_cast<void>(test::hear());
    test::run_and_lose([&] {
        auto& side = work.layout().producer;
        const auto seen = side.load();
        side.word = seen.next(seen.position, domain->members().lane()).pack();
        side.pending = 16;
        const auto slots = detail::slots_of(work.layout());
        for (auto at = slots.left_in_line(seen.position); at != 16; ++at) {
            const auto packet = reinterpret_cast<std::uint64_t>(pool.alloc());
            slots.put(seen.position + at, &packet, 1);
        }
    });
    const auto before = work.count();
    require(work.enqueue(pool.alloc()), "the ring is full");
    require(work.count() == before + 1, "what the dead had not published is there");
    require(find_fault(work.layout()) == nullptr, "the ring is not sound");
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
        domain->create_pktmbuf_pool("captured", test::redelivered_to("redo", 128, 16));
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

/// A port from its making to its end, with bursts before and after it was stopped.
void live_as_a_port(const arguments& given)
{
    const auto domain = join(given);
    domain->create_pktmbuf_pool("port", {.count = 64, .cache_size = 8});
    auto made = domain->create_port("port", "null:size=100", {.rx_pool = "port"});
    std::array<mbuf*, 8> packets{};
    for (std::size_t round = 0; round != 2; ++round) {
        made.set_offloads({.vlan_strip = true, .tx_prepare = true});
        auto capture = domain->capture_port("port");
        require(made.rx_burst(0, packets) == packets.size(), "the port is silent");
        send_all(made, packets);
        for (std::size_t i = 0; i != 2 * packets.size(); ++i)
            require(capture.next().has_value(), "what passes is not captured");
        require(made.rx_burst(0, packets) == packets.size(), "the port is silent");
        for (auto* packet : packets)
            packet->ol_flags |= mbuf_flag::tx_tcp_seg;
        send_all(made, packets);
        require(made.tx_stats().errors == (round + 1) * packets.size(), "errors are not counted");
        made.stop_rx(0);
        require(made.rx_burst(0, packets) == 0, "a stopped queue receives");
        made.stop();
        require(made.rx_burst(0, packets) == 0, "a stopped port receives");
        made.start();
    }
    require(domain->destroy_port("port"), "the port is gone");
    require(domain->destroy_mempool("port"), "the pool is gone");
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
    test::hold_clones(*domain, pool, *received[0], *fresh[0], *fresh[1]);
    test::say("holding");
    static_cast<void>(test::hear());
}

/// A member that lives through everything.
class bystander {
public:
    explicit bystander(const arguments& given) : domain_{join(given)}
    {
        test::bind_everything();
        // Smaller than what a victim leaves: some packets have to wait for room.
        domain_->create_ring<mbuf*>("again", 6);
        auto work = domain_->create_ring<mbuf*>("work", 64);
        auto plain = domain_->create_pktmbuf_pool("plain", {.count = 512, .cache_size = 32});
        auto kept = domain_->create_pktmbuf_pool("kept", test::redelivered_to("again", 256, 16));
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

    /// The reaper is at work on the same pools and heaps. On a machine that stops it for longer
    /// than a call waits, the call fails, and the next one does not.
    void use_all()
    {
        for (const auto* name : {"plain", "kept"}) {
            auto pool = domain_->find_pktmbuf_pool(name).value();
            std::array<mbuf*, 60> packets{};
            require(eventually([&] { return pool.alloc_bulk(packets); }), "the pool is empty");
            free_bulk(packets);
            mbuf* chain = nullptr;
            require(eventually([&] { return (chain = pool.alloc_chain(9000)) != nullptr; }),
                    "the pool has no chain");
            free(chain);
        }
        auto heap = domain_->heap();
        void* block = nullptr;
        require(eventually([&] { return (block = heap.malloc(5000)) != nullptr; }),
                "the heap is empty");
        require(eventually([&] { return heap.free(block); }), "a block is gone");
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
        drain_stages(*domain_, next_of_stages_);
    }

    std::unique_ptr<secondary::attachment> domain_;
    std::uint32_t next_of_stages_ = 0;
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
    {"open", start_open},
    {"adopt", adopt},
    {"hand over", take_over},
    {"attach", [](const arguments& given) { static_cast<void>(join(given)); }},
    {"objects", make_and_destroy},
    {"buffers", use_buffers},
    {"clones", [](const arguments& given) { test::use_clones(*join(given)); }},
    {"dynamic", [](const arguments& given) { test::use_dynamics(*join(given)); }},
    {"message", talk},
    {"external", use_own_memory},
    {"debtor", owe_blocks},
    {"owe", await_reaping},
    {"bury", reap_with_memory},
    {"settle", find_what_lasts},
    {"inherit", inherit},
    {"heap", use_heap},
    {"repair", repair_heap},
    {"take over", take_ring_over},
    {"stages", pass_stages},
    {"pools", grow_pools},
    {"grow", grow_pools},
    {"reap", await_reaping},
    {"lose", lose_a_thread},
    {"port", copy_capture},
    {"port life", live_as_a_port},
    {"interface", cross_the_cable},
    {"tap", go_through_the_tap},
    {"pcap", go_through_libpcap},
    {"spoiler", spoil_inbox},
    {"mend", mend_inbox},
    {"xdp", go_through_the_socket},
    {"send to silent", send_to_silent_queue},
    {"silence", silence_queue},
    {"start deferred", start_deferred_port},
    {"defer", defer_queue},
    {"stale", use_gone_port},
    {"reuse", reuse_port_memory},
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
