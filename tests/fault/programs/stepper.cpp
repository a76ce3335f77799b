// A member that does one call between two breakpoints, for the single-step killer.
// Usage: stepper DOMAIN CALL. The test has made pool "p" and rings "multi" and "single".
// It is on its lane and has looked up pool and rings before: only the call itself is stepped.

#include "cohort/base/error.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <array>
#include <functional>
#include <map>

namespace {

using namespace cohort;

constexpr std::size_t batch = 3;

struct material {
    secondary::attachment& domain;
    pktmbuf_pool pool{domain.find_pktmbuf_pool("p").value()};
    ring<mbuf*> multi{domain.find_ring<mbuf*>("multi").value()};
    ring<mbuf*> single{domain.find_ring<mbuf*>("single").value()};
    std::array<mbuf*, 40> packets{};
    mbuf* chained = nullptr;
    heap blocks{domain.heap()};
    void* block = nullptr;

    void allocate(std::size_t bytes, std::size_t alignment = 16)
    {
        block = blocks.allocate({.bytes = bytes, .alignment = alignment, .kept = lifetime::member});
        if (!block)
            throw std::runtime_error{"the heap is empty"};
    }
    void take(std::size_t count)
    {
        if (!pool.alloc_bulk(std::span{packets}.first(count)))
            throw std::runtime_error{"the pool is empty"};
        for (std::size_t i = 0; i != count; ++i)
            packets[i]->hash.tag = 1000 + static_cast<std::uint32_t>(i);
    }
};

struct call {
    std::function<void(material&)> prepare;
    std::function<void(material&)> run;
};

using one_ring = ring<mbuf*> material::*;

void add_ring_calls(std::map<std::string, call>& calls, const std::string& name, one_ring which)
{
    calls["enqueue " + name] = {
        [](material& with) { with.take(batch); },
        [=](material& with) {
            static_cast<void>((with.*which).enqueue_burst(std::span{with.packets}.first(batch)));
        }};
    calls["dequeue " + name] = {
        [](material&) {},
        [=](material& with) {
            static_cast<void>((with.*which).dequeue_burst(std::span{with.packets}.first(batch)));
        }};
}

std::map<std::string, call> all_calls()
{
    std::map<std::string, call> calls;
    add_ring_calls(calls, "multi", &material::multi);
    add_ring_calls(calls, "single", &material::single);
    const auto nothing = [](material&) {};
    calls["get refill"] = {nothing, [](material& with) { with.take(4); }};
    calls["get cached"] = {[](material& with) {
                               with.take(4);
                               free_bulk(std::span{with.packets}.first(4));
                           },
                           [](material& with) { with.take(4); }};
    calls["put cached"] = {[](material& with) { with.take(4); },
                           [](material& with) { free_bulk(std::span{with.packets}.first(4)); }};
    calls["put flush"] = {[](material& with) { with.take(40); },
                          [](material& with) {
                              free_bulk(std::span{with.packets}.first(20));
                              free_bulk(std::span{with.packets}.last(20));
                          }};
    calls["alloc chain"] = {nothing,
                            [](material& with) { with.chained = with.pool.alloc_chain(6000); }};
    calls["free chain"] = {[](material& with) { with.chained = with.pool.alloc_chain(6000); },
                           [](material& with) { free(with.chained); }};
    // To a received packet: killed half-way, it is redelivered whole, with or without the rest.
    calls["chain"] = {
        [](material& with) {
            static_cast<void>(with.multi.dequeue(with.packets[0]));
            with.chained = with.pool.alloc_chain(3000);
        },
        [](material& with) { static_cast<void>(chain(*with.packets[0], *with.chained)); }};
    calls["flush"] = {[](material& with) {
                          with.take(8);
                          free_bulk(std::span{with.packets}.first(8));
                      },
                      [](material& with) { with.pool.objects().flush(); }};
    calls["request"] = {nothing, [](material& with) {
                            auto& actions = with.domain.actions();
                            actions.send(*actions.find_primary(), "anything", "payload");
                        }};
    calls["enter lane"] = {[](material& with) { with.domain.leave_lane(); },
                           [](material& with) { with.domain.enter_lane("again"); }};
    calls["leave lane"] = {[](material& with) {
                               with.take(8);
                               free_bulk(std::span{with.packets}.first(8));
                           },
                           [](material& with) { with.domain.leave_lane(); }};
    calls["heap malloc"] = {nothing, [](material& with) { with.allocate(100); }};
    calls["heap aligned"] = {nothing, [](material& with) { with.allocate(100, 4096); }};
    calls["heap grow"] = {nothing, [](material& with) { with.allocate(5'000'000); }};
    calls["heap free"] = {[](material& with) {
                              with.allocate(100);
                              with.allocate(100, 4096);
                          },
                          [](material& with) { with.blocks.free(with.block); }};
    calls["heap shrink"] = {[](material& with) { with.allocate(5'000'000); },
                            [](material& with) { with.blocks.free(with.block); }};
    calls["heap realloc"] = {
        [](material& with) { with.allocate(1000); },
        [](material& with) { with.block = with.blocks.realloc(with.block, 3000); }};
    calls["reserve"] = {nothing,
                        [](material& with) { with.domain.reserve_memzone("stepped", 1000); }};
    return calls;
}

[[gnu::always_inline]] inline void breakpoint()
{
    asm volatile("int3" ::: "memory");
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return 2;
    const auto calls = all_calls();
    const auto& chosen = calls.at(argv[2]);
    const auto domain = secondary::attach(argv[1], 10s, "victim");
    static_cast<void>(domain->members().lane());
    material with{*domain};
    chosen.prepare(with);
    test::say("ready");
    static_cast<void>(test::hear());
    breakpoint();
    chosen.run(with);
    breakpoint();
    return 0;
}
