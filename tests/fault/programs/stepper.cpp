// A member that does one call between two breakpoints, for the single-step killer.
// Usage: stepper DOMAIN CALL [DIRECTORY]. The test has made pool "p" and rings "multi" and
// "single", and, with a directory, the heap "own" over the file "first" in it; the file "second" is
// to come. It is on its lane and has looked up pool and rings before: only the call itself is
// stepped.

#include "cohort/base/error.hpp"
#include "cohort/domain/lane_rings.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/ring/ring_offer.hpp"
#include "cohort/ring/ring_zero_copy.hpp"
#include "cohort/secondary/secondary.hpp"
#include "fault/breakpoint.hpp"
#include "fault/step_pieces.hpp"
#include "support/conversation.hpp"
#include "support/totals.hpp"

#include <array>
#include <functional>
#include <map>
#include <numeric>
#include <optional>

namespace {

using namespace cohort;

constexpr std::size_t batch = test::stepped_batch;

struct material {
    secondary::attachment& domain;
    pktmbuf_pool pool{domain.find_pktmbuf_pool("p").value()};
    ring<mbuf*> multi{domain.find_ring<mbuf*>("multi").value()};
    ring<mbuf*> single{domain.find_ring<mbuf*>("single").value()};
    ring<std::uint64_t> values{domain.find_ring<std::uint64_t>("values").value()};
    lane_ring<mbuf*> lanes{find_lane_ring<mbuf*>(domain, "lanes").value()};
    stack<mbuf*> shelf{domain.find_stack<mbuf*>("shelf").value()};
    test::totals& totals{*domain.find<test::totals>("totals")};
    std::optional<mempool> growing{};
    staged_ring<mbuf*> stages{domain.find_staged_ring<mbuf*>("stages").value()};
    std::array<std::uint64_t, batch> numbers{};
    std::array<mbuf*, 40> packets{};
    mbuf* chained = nullptr;
    heap blocks{domain.heap()};
    void* block = nullptr;
    std::optional<test::step_pieces> pieces{};

    void allocate(std::size_t bytes, std::size_t alignment = 16)
    {
        block = blocks.allocate({.bytes = bytes, .alignment = alignment, .kept = lifetime::member});
        if (!block)
            throw std::runtime_error{"the heap is empty"};
    }
    /// From here on the blocks are those of the heap "own".
    void attach_own()
    {
        blocks = domain.find_heap("own").value();
        blocks.attach_memory(pieces.value().first.bytes());
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
    ipc::dispatching dispatch = ipc::dispatching::own_thread;
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

/// A ring of numbers, which publishes by index.
void add_value_calls(std::map<std::string, call>& calls)
{
    calls["enqueue values"] = {
        [](material& with) {
            std::iota(with.numbers.begin(), with.numbers.end(), test::first_value_of_victim);
        },
        [](material& with) { static_cast<void>(with.values.enqueue_burst(with.numbers)); }};
    calls["dequeue values"] = {
        [](material&) {},
        [](material& with) { static_cast<void>(with.values.dequeue_burst(with.numbers)); }};
}

void add_stack_calls(std::map<std::string, call>& calls)
{
    calls["push"] = {[](material& with) { with.take(batch); },
                     [](material& with) {
                         static_cast<void>(
                             with.shelf.push_burst(std::span{with.packets}.first(batch)));
                     }};
    calls["pop"] = {[](material&) {},
                    [](material& with) {
                        static_cast<void>(
                            with.shelf.pop_burst(std::span{with.packets}.first(batch)));
                    }};
}

void add_stage_calls(std::map<std::string, call>& calls)
{
    calls["stage enqueue"] = {
        [](material& with) { with.take(batch); },
        [](material& with) {
            static_cast<void>(with.stages.enqueue_burst(std::span{with.packets}.first(batch)));
        }};
    calls["stage dequeue"] = {
        [](material&) {},
        [](material& with) {
            static_cast<void>(with.stages.dequeue_burst(std::span{with.packets}.first(batch)));
        }};
    calls["zc stage enqueue"] = {
        [](material& with) { with.take(batch); },
        [](material& with) {
            static_cast<void>(enqueue_burst_start(with.stages, batch)
                                  .finish(std::span<mbuf* const>{with.packets}.first(batch)));
        }};
    calls["zc stage dequeue"] = {
        [](material&) {},
        [](material& with) { dequeue_burst_start(with.stages, batch).finish(batch); }};
    calls["stage acquire"] = {
        [](material&) {}, [](material& with) { with.stages.acquire_burst(0, batch).release(); }};
    calls["waking stage release"] = {
        [](material& with) { static_cast<void>(bell_before(with.stages.layout(), 1).arm()); },
        [](material& with) { with.stages.acquire_burst(0, batch).release(); }};
    // Given back, and then taken again in parts.
    calls["stage again"] = {
        [](material& with) { static_cast<void>(with.stages.acquire_burst(0, batch)); },
        [](material& with) { with.stages.acquire_burst(0, 1).release(); }};
}

/// The same rings in two steps, and with somebody to be woken.
void add_held_calls(std::map<std::string, call>& calls)
{
    calls["zc enqueue values"] = {[](material&) {},
                                  [](material& with) {
                                      auto room = enqueue_burst_start(with.values, batch);
                                      auto number = test::first_value_of_victim;
                                      for (auto part : {room.first(), room.second()})
                                          for (auto& slot : part)
                                              slot = number++;
                                      room.finish(batch);
                                  }};
    calls["zc dequeue values"] = {
        [](material&) {},
        [](material& with) { dequeue_burst_start(with.values, batch).finish(batch); }};
    calls["zc enqueue multi"] = {
        [](material& with) { with.take(batch); },
        [](material& with) {
            static_cast<void>(enqueue_burst_start(with.multi, batch)
                                  .finish(std::span<mbuf* const>{with.packets}.first(batch)));
        }};
    calls["zc dequeue multi"] = {
        [](material&) {},
        [](material& with) { dequeue_burst_start(with.multi, batch).finish(batch); }};
    calls["offer multi"] = {[](material& with) {
                                with.take(batch);
                                with.multi.layout().when_full = full_policy::drop_new;
                            },
                            [](material& with) {
                                const std::span<mbuf* const> packets{with.packets.data(), batch};
                                offer(with.multi, packets,
                                      [](std::span<mbuf* const> rest) { free_bulk(rest); });
                            }};
    calls["lane enqueue"] = {
        [](material& with) { with.take(batch); },
        [](material& with) {
            static_cast<void>(with.lanes.enqueue_burst(std::span{with.packets}.first(batch)));
        }};
    calls["waking enqueue values"] = {
        [](material& with) {
            std::iota(with.numbers.begin(), with.numbers.end(), test::first_value_of_victim);
            static_cast<void>(with.values.layout().producer.bell.arm());
        },
        [](material& with) { static_cast<void>(with.values.enqueue_burst(with.numbers)); }};
}

void add_external_calls(std::map<std::string, call>& calls)
{
    const auto attach = [](material& with) { with.attach_own(); };
    const auto first = [](material& with) { return with.pieces.value().first.bytes(); };
    const auto second = [](material& with) { return with.pieces.value().second.bytes(); };
    calls["external malloc"] = {attach, [](material& with) { with.allocate(100); }};
    calls["external free"] = {[](material& with) {
                                  with.attach_own();
                                  with.allocate(100);
                                  with.allocate(10'000);
                              },
                              [](material& with) { with.blocks.free(with.block); }};
    calls["external add"] = {attach, [=](material& with) { with.blocks.add_memory(second(with)); }};
    calls["external remove"] = {[=](material& with) {
                                    with.attach_own();
                                    with.blocks.add_memory(second(with));
                                },
                                [=](material& with) { with.blocks.remove_memory(second(with)); }};
    calls["external attach"] = {
        [](material& with) { with.blocks = with.domain.find_heap("own").value(); },
        [=](material& with) { with.blocks.attach_memory(first(with)); }};
    calls["external detach"] = {attach,
                                [=](material& with) { with.blocks.detach_memory(first(with)); }};
}

/// Calls on packets that others may hold references to: "multi" has clones of what is in "single".
void add_clone_calls(std::map<std::string, call>& calls)
{
    const auto own_chain = [](material& with) {
        with.packets[0] = with.pool.alloc_chain(3000);
        with.packets[1] = clone(*with.packets[0], with.pool.objects());
    };
    const auto received = [](material& with) {
        static_cast<void>(with.multi.dequeue(with.packets[0]));
    };
    calls["clone chain"] = {own_chain, [](material& with) {
                                with.packets[2] = clone(*with.packets[0], with.pool.objects());
                            }};
    calls["free clone"] = {own_chain, [](material& with) { free(with.packets[1]); }};
    calls["free original"] = {own_chain, [](material& with) { free(with.packets[0]); }};
    calls["free last clone"] = {[=](material& with) {
                                    own_chain(with);
                                    free(with.packets[0]);
                                },
                                [](material& with) { free(with.packets[1]); }};
    calls["clone received"] = {received, [](material& with) {
                                   with.packets[1] = clone(*with.packets[0], with.pool.objects());
                               }};
    calls["free received"] = {received, [](material& with) { free(with.packets[0]); }};
    calls["free received original"] = {
        [](material& with) { static_cast<void>(with.single.dequeue(with.packets[0])); },
        [](material& with) { free(with.packets[0]); }};
    calls["attach"] = {
        [=](material& with) {
            received(with);
            with.packets[1] = with.pool.alloc();
        },
        [](material& with) { static_cast<void>(attach(*with.packets[1], *with.packets[0])); }};
    calls["detach"] = {received, [](material& with) { detach(*with.packets[0]); }};
    calls["copy"] = {received, [](material& with) {
                         with.packets[1] = copy(*with.packets[0], with.pool.objects());
                     }};
    calls["linearize"] = {[](material& with) {
                              static_cast<void>(with.single.dequeue(with.packets[0]));
                              with.packets[0]->data_off = 0;
                              for (int i = 0; i != 2; ++i) {
                                  with.packets[1] = with.pool.alloc();
                                  static_cast<void>(with.packets[1]->append(100));
                                  static_cast<void>(chain(*with.packets[0], *with.packets[1]));
                              }
                          },
                          [](material& with) { static_cast<void>(linearize(*with.packets[0])); }};
}

std::map<std::string, call> all_calls()
{
    std::map<std::string, call> calls;
    add_ring_calls(calls, "multi", &material::multi);
    add_ring_calls(calls, "single", &material::single);
    add_value_calls(calls);
    add_held_calls(calls);
    add_stack_calls(calls);
    add_clone_calls(calls);
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
    calls["reply"] = {[](material& with) {
                          with.domain.actions().on(
                              "echo", [](ipc::message& asked) { asked.reply(asked.text()); });
                      },
                      [](material& with) { with.domain.poll(); }, ipc::dispatching::by_caller};
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
    add_external_calls(calls);
    calls["lock"] = {nothing, [](material& with) {
                         const robust_guard mine{with.totals.lock, deadline_in(1s)};
                         with.totals.count_one();
                     }};
    calls["create"] = {nothing,
                       [](material& with) { with.domain.create<test::totals>("stepped"); }};
    add_stage_calls(calls);
    calls["populate"] = {
        [](material& with) {
            with.growing = with.domain.create_empty_mempool(
                "stepped", {.count = 64, .element_bytes = 64, .cache_size = 0});
        },
        [](material& with) { with.domain.populate(with.growing.value(), {.count = 8}); }};
    calls["reserve"] = {nothing,
                        [](material& with) { with.domain.reserve_memzone("stepped", 1000); }};
    return calls;
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3 && argc != 4)
        return 2;
    const auto calls = all_calls();
    const auto& chosen = calls.at(argv[2]);
    const auto domain = secondary::attach(argv[1], 10s, "victim", chosen.dispatch);
    static_cast<void>(domain->members().lane());
    material with{*domain};
    if (argc == 4)
        with.pieces.emplace(argv[3]);
    chosen.prepare(with);
    test::let_others_wait_at_breakpoints();
    test::say("ready");
    static_cast<void>(test::hear());
    test::breakpoint();
    chosen.run(with);
    test::breakpoint();
    return 0;
}
