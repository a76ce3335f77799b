#include "ring_bench.hpp"

#include "cohort/primary/primary.hpp"
#include "cohort/ring/lane_ring.hpp"
#include "cohort/ring/staged_ring.hpp"
#include "cohort/secondary/secondary.hpp"
#include "pages.hpp"
#include "ring_loops.hpp"
#include "support/child_process.hpp"
#include "support/conversation.hpp"

#include <stdexcept>

#include <fmt/format.h>

#include <sched.h>

namespace cohort::bench {
namespace {

constexpr auto domain_name = "rings";
constexpr auto round_name = "round";
constexpr auto patience = std::chrono::seconds{60};

template <ring_mode mode>
class cohort_ring {
public:
    explicit cohort_ring(void* at) : ring_{*static_cast<ring_layout*>(at)} {}

    static void make(void* at)
    {
        construct_ring(at, ring_capacity, sizeof(void*), publication::by_slot, no_custody, 0,
                       {.producers = mode, .consumers = mode});
        rewind(*static_cast<ring_layout*>(at), 0);
    }
    std::size_t enqueue(void* const* items, std::size_t count)
    {
        return ring_.enqueue_burst({items, count});
    }
    std::size_t dequeue(void** items, std::size_t count)
    {
        return ring_.dequeue_burst({items, count});
    }

private:
    ring<void*> ring_;
};

/// A ring with one stage: an element is acquired and released between the two ends.
class cohort_staged_ring {
public:
    explicit cohort_staged_ring(void* at) : ring_{*static_cast<ring_layout*>(at)} {}

    static void make(void* at)
    {
        construct_ring(at, ring_capacity, sizeof(void*), publication::in_stages, no_custody, 0,
                       as_ring_options({.stages = 1}));
        rewind(*static_cast<ring_layout*>(at), 0);
    }
    std::size_t enqueue(void* const* items, std::size_t count)
    {
        return ring_.enqueue_burst({items, count});
    }
    std::size_t dequeue(void** items, std::size_t count)
    {
        ring_.acquire_burst(0, count).release();
        return ring_.dequeue_burst({items, count});
    }

private:
    staged_ring<void*> ring_;
};

/// The rings of a relaxed lane ring with three producers, one behind the other.
class cohort_lane_ring {
public:
    explicit cohort_lane_ring(void* at) : ring_{rings_at(at)} {}

    static void make(void* at)
    {
        for (std::uint32_t i = 0; i != parts; ++i) {
            construct_ring(part_at(at, i), ring_capacity, sizeof(void*), publication::by_slot,
                           no_custody, 0,
                           {.producers = i == 0 ? ring_mode::multi : ring_mode::single,
                            .consumers = ring_mode::single});
            rewind(*part_at(at, i), 0);
        }
    }
    std::size_t enqueue(void* const* items, std::size_t count)
    {
        return ring_.enqueue_burst({items, count});
    }
    std::size_t dequeue(void** items, std::size_t count)
    {
        return ring_.dequeue_burst({items, count});
    }

private:
    static constexpr std::uint32_t parts = 1 + most_producers;

    static ring_layout* part_at(void* at, std::uint32_t i)
    {
        return reinterpret_cast<ring_layout*>(static_cast<std::byte*>(at) +
                                              i * (ring_room / parts));
    }
    static std::vector<ring<void*>> rings_at(void* at)
    {
        std::vector<ring<void*>> rings;
        for (std::uint32_t i = 0; i != parts; ++i)
            rings.emplace_back(*part_at(at, i));
        return rings;
    }

    lane_ring<void*> ring_;
};

const std::vector<ring_kind>& kinds()
{
    static const auto all = [] {
        auto list = cohort_rings();
        for (auto& each : dpdk_rings())
            list.push_back(each);
        return list;
    }();
    return all;
}

/// Processor of a process: producers and consumers are mixed on both.
int processor_of(std::uint32_t who)
{
    return static_cast<int>((who + 1) / 2 % 2);
}

/// Even processes produce, odd ones consume while there are consumers to be.
void take_part(ring_round& round, std::uint32_t who)
{
    const auto& kind = kinds().at(round.kind);
    const auto consumers_before = std::min((who + 1) / 2, round.consumers);
    if (who % 2 == 1 && who / 2 < round.consumers)
        kind.consume(round, who / 2);
    else
        kind.produce(round, who - consumers_before);
}

}  // namespace

std::vector<ring_kind> cohort_rings()
{
    return {detail::kind_of<cohort_ring<ring_mode::single>>("ours", "SP/SC"),
            detail::kind_of<cohort_ring<ring_mode::multi>>("ours", "MP/MC"),
            detail::kind_of<cohort_lane_ring>("ours", "fan-in"),
            detail::kind_of<cohort_staged_ring>("ours", "one stage")};
}

int play_ring(const std::string& domain_of, std::uint32_t who)
{
    const auto domain = secondary::attach(domain_of, patience, fmt::format("ring {}", who));
    pin_to(processor_of(who));
    auto& round = *reinterpret_cast<ring_round*>(domain->find_memzone(round_name).data());
    test::say("ready");
    for (auto line = test::hear(); !line.empty(); line = test::hear()) {
        const auto& kind = kinds().at(round.kind);
        round.ready.fetch_add(1);
        while (round.started.load(std::memory_order_acquire) == 0)
            _mm_pause();
        if (line == "answer")
            kind.answer(round);
        else
            take_part(round, who);
        round.finished.fetch_add(1);
        domain->leave_lane();  // its roles are free for the next round
    }
    return 0;
}

struct ring_stage::cast {
    std::unique_ptr<primary::owner> domain =
        primary::start({.name = domain_name, .memory = 8_MiB, .huge = huge_policy::only_2m});
    memzone zone = domain->reserve_memzone(round_name, sizeof(ring_round));
    memzone first = domain->reserve_memzone("first", ring_room, {.alignment = 4096});
    memzone second = domain->reserve_memzone("second", ring_room, {.alignment = 4096});
    memzone payload = domain->reserve_memzone("payload", 4096, {.alignment = 4096});
    std::vector<test::child_process> others;

    ring_round& begin(const ring_kind& kind)
    {
        auto& round = *new (zone.data()) ring_round{};
        round.kind = static_cast<std::uint32_t>(&kind - kinds().data());
        round.ring = first.data();
        round.back = second.data();
        round.payload = payload.data();
        kind.make(round.ring);
        kind.make(round.back);
        return round;
    }

    /// Calls as many other processes as take part, does `mine`, and returns the seconds until all
    /// have finished.
    template <typename Mine>
    double run(ring_round& round, std::uint32_t processes, const std::string& part, Mine mine)
    {
        while (others.size() + 1 < processes) {
            others.push_back(
                test::child_process::spawn("/proc/self/exe", {"--ring", domain_name, "--who",
                                                              std::to_string(others.size() + 1)}));
            others.back().await("ready", patience);
        }
        const pinned here{processor_of(0)};
        for (std::uint32_t i = 1; i != processes; ++i)
            others[i - 1].tell(part);
        while (round.ready.load() != processes - 1)
            std::this_thread::yield();
        const auto start = clock::now();
        round.started.store(1, std::memory_order_release);
        mine();
        while (round.finished.load() != processes - 1)
            std::this_thread::yield();
        const auto seconds = milliseconds_since(start) / 1e3;
        domain->leave_lane();
        return seconds;
    }

    /// Million elements a second through one ring.
    double flow(const ring_kind& kind, regime pace, std::uint32_t burst, std::uint32_t producers,
                std::uint32_t consumers)
    {
        auto& round = begin(kind);
        round.pace = pace;
        round.burst = burst;
        round.producers = producers;
        round.consumers = consumers;
        round.each = burst == 1 ? 1u << 18 : 1u << 20;
        const auto seconds =
            run(round, producers + consumers, "flow", [&] { take_part(round, 0); });
        std::uint64_t sum = 0;
        for (const auto& each : round.got)
            sum += each.sum;
        std::uint64_t expected = 0;
        for (std::uint64_t who = 0; who != producers; ++who) {
            const auto sent = round.done[who].load() - 1;
            expected += sent * (sent - 1) / 2 + (who << 40) * sent;
        }
        if (sum != expected)
            throw std::runtime_error{kind.name + " lost or doubled elements"};
        return static_cast<double>(round.sent_by_all()) / seconds / 1e6;
    }

    /// Nanoseconds of an enqueue and a dequeue of a burst, by one thread.
    double pair(const ring_kind& kind, std::uint32_t burst)
    {
        const pinned here{processor_of(0)};
        auto& round = begin(kind);
        round.burst = burst;
        round.each = std::uint64_t{burst} << 18;
        const auto start = clock::now();
        kind.pairs(round);
        const auto nanoseconds = milliseconds_since(start) * 1e6;
        domain->leave_lane();
        return nanoseconds / static_cast<double>(round.each / burst);
    }

    /// Microseconds that a share of the round trips stays below.
    double round_trip(const ring_kind& kind, double share)
    {
        auto& round = begin(kind);
        round.each = 20'000;
        std::vector<std::uint32_t> cycles(round.each);
        const auto before = __rdtsc();
        const auto start = clock::now();
        run(round, 2, "answer", [&] { kind.ask(round, cycles.data()); });
        const auto cycles_per_us =
            static_cast<double>(__rdtsc() - before) / microseconds_since(start);
        std::sort(cycles.begin(), cycles.end());
        return cycles[static_cast<std::size_t>(share * static_cast<double>(round.each - 1))] /
               cycles_per_us;
    }
};

ring_stage::ring_stage() : cast_{std::make_unique<cast>()}
{
}
ring_stage::~ring_stage() = default;

namespace {

using round_maker = std::function<round_of(const ring_kind&)>;

/// Ours beside every peer of that mode.
measurement compare(std::string name, std::string unit, better wanted, const std::string& mode,
                    std::optional<double> target, const round_maker& make)
{
    measurement made{.name = std::move(name), .unit = std::move(unit), .wanted = wanted};
    made.pages = "2M";
    for (const auto& each : kinds()) {
        if (each.mode != mode)
            continue;
        if (each.name == "ours")
            made.ours = make(each);
        else
            made.peers.push_back({each.name, make(each), target});
    }
    return made;
}

}  // namespace

/// More processes than processors.
void ring_stage::add_crowded(std::vector<measurement>& list)
{
    // Under a real-time class a process that waits would keep out the one it waits for.
    if (::sched_getscheduler(0) != SCHED_OTHER) {
        fmt::print(stderr, "cohort_bench: rows with more processes than processors are left out "
                           "under a real-time scheduling class\n");
        return;
    }
    auto& stage = *cast_;
    struct crowd {
        const char* mode;
        std::uint32_t producers;
        std::uint32_t consumers;
        std::uint32_t burst;
        double target;
    };
    for (const crowd& each : {crowd{"MP/MC", 2, 2, 8, 1.2},
                              {"MP/MC", 2, 2, 32, 1.2},
                              {"MP/MC", 3, 3, 8, 1.2},
                              {"MP/MC", 3, 3, 32, 1.2},
                              {"fan-in", 3, 1, 1, 3},
                              {"fan-in", 3, 1, 8, 3},
                              {"fan-in", 3, 1, 32, 3}})
        list.push_back(compare(fmt::format("ring {}, {}+{} processes, burst {}", each.mode,
                                           each.producers, each.consumers, each.burst),
                               "M/s", better::higher, each.mode, each.target,
                               [&stage, each](const ring_kind& kind) {
                                   return [&stage, &kind, each] {
                                       return stage.flow(kind, regime::crowd, each.burst,
                                                         each.producers, each.consumers);
                                   };
                               }));
}

std::vector<measurement> ring_stage::measurements()
{
    auto& stage = *cast_;
    std::vector<measurement> list;
    struct goal {
        std::uint32_t burst;
        double single;
        double multi;
    };
    for (const auto& [pace, word] :
         {std::pair{regime::paced, "paced"}, {regime::backlog, "backlog"}})
        for (const goal& each : {goal{1, 5, 5}, {8, 1.7, 4}, {32, 1.1, 1.5}, {128, 1.1, 1.1}})
            for (const std::string mode : {"SP/SC", "MP/MC"}) {
                const auto target = pace == regime::backlog ? 1.0
                                    : mode == "SP/SC"       ? each.single
                                                            : each.multi;
                list.push_back(compare(
                    fmt::format("ring {}, two processes, {}, burst {}", mode, word, each.burst),
                    "M/s", better::higher, mode, target,
                    [&stage, pace, each](const ring_kind& kind) {
                        return [&stage, &kind, pace, each] {
                            return stage.flow(kind, pace, each.burst, 1, 1);
                        };
                    }));
            }
    add_crowded(list);
    for (const std::string mode : {"SP/SC", "MP/MC"})
        for (const std::uint32_t burst : {1u, 8u, 32u, 128u})
            list.push_back(
                compare(fmt::format("ring {}, pair by one thread, burst {}", mode, burst), "ns",
                        better::lower, mode, 1.0, [&stage, burst](const ring_kind& kind) {
                            return [&stage, &kind, burst] { return stage.pair(kind, burst); };
                        }));
    // DPDK 22.11 has no staged ring: what serves there is a ring before the workers and one behind.
    for (const std::uint32_t burst : {1u, 8u, 32u, 128u})
        list.push_back(
            compare(fmt::format("ring, through one stage by one thread, burst {}", burst), "ns",
                    better::lower, "one stage", 1.0, [&stage, burst](const ring_kind& kind) {
                        return [&stage, &kind, burst] { return stage.pair(kind, burst); };
                    }));
    for (const auto& [share, word] : {std::pair{0.5, "p50"}, {0.99, "p99"}, {0.999, "p99.9"}})
        list.push_back(compare(fmt::format("ring SP/SC, round trip of 64 B, {}", word), "us",
                               better::lower, "SP/SC", 1.0, [&stage, share](const ring_kind& kind) {
                                   return [&stage, &kind, share] {
                                       return stage.round_trip(kind, share);
                                   };
                               }));
    return list;
}

}  // namespace cohort::bench
