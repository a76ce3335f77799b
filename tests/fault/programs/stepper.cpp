// A member that does one call between two breakpoints, for the single-step killer.
// Usage: stepper DOMAIN CALL. The test has made pool "p" and rings "multi" and "single".

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
    std::array<mbuf*, 40> packets{};
    mbuf* chained = nullptr;

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

ring<mbuf*> find(material& with, const char* name)
{
    return with.domain.find_ring<mbuf*>(name).value();
}

/// Enqueue and dequeue of one ring. A single side is taken before, so that only the call is
/// stepped.
void add_ring_calls(std::map<std::string, call>& calls, const char* name)
{
    const std::string suffix = std::string{" "} + name;
    calls["enqueue" + suffix] = {
        [](material& with) { with.take(batch); },
        [=](material& with) {
            static_cast<void>(find(with, name).enqueue_burst(std::span{with.packets}.first(batch)));
        }};
    calls["dequeue" + suffix] = {
        [](material&) {},
        [=](material& with) {
            static_cast<void>(find(with, name).dequeue_burst(std::span{with.packets}.first(batch)));
        }};
}

std::map<std::string, call> all_calls()
{
    std::map<std::string, call> calls;
    add_ring_calls(calls, "multi");
    add_ring_calls(calls, "single");
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
            static_cast<void>(find(with, "multi").dequeue(with.packets[0]));
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
    calls["leave lane"] = {[](material& with) {
                               with.take(8);
                               free_bulk(std::span{with.packets}.first(8));
                           },
                           [](material& with) { with.domain.leave_lane(); }};
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
    material with{*domain};
    chosen.prepare(with);
    test::say("ready");
    static_cast<void>(test::hear());
    breakpoint();
    chosen.run(with);
    breakpoint();
    return 0;
}
