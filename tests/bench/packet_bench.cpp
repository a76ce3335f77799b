#include "packet_bench.hpp"

#include "allocators.hpp"
#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "eal.hpp"
#include "packet_loops.hpp"
#include "pages.hpp"
#include "support/child_process.hpp"
#include "support/conversation.hpp"

#include <functional>
#include <optional>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

namespace cohort {
namespace bench {

/// Of the pool of plain objects.
struct object {
    std::byte bytes[object_bytes];
};

}  // namespace bench

template <>
inline constexpr std::int32_t custody_offset_of<bench::object*> = object_custody_offset;

}  // namespace cohort

namespace cohort::bench {
namespace {

constexpr auto domain_name = "packets";
constexpr auto round_name = "round";
constexpr auto patience = std::chrono::seconds{60};

ipc::joined_domain* joined = nullptr;  // of this process

class cohort_side {
public:
    using packet = mbuf;

    static void make()
    {
        joined->create_mempool(
            "objects",
            {.count = packet_count, .element_bytes = object_bytes, .cache_size = packet_cache});
        joined->create_pktmbuf_pool("packets", {.count = packet_count, .cache_size = packet_cache});
        joined->create_ring<object*>("handed", packet_ring_capacity, single);
        for (const auto* name : {"there", "back"})
            joined->create_ring<mbuf*>(name, packet_ring_capacity, single);
    }

    bool get(void** objects, std::size_t n) { return objects_.get_bulk({objects, n}); }
    void put(void* const* objects, std::size_t n) { objects_.put_bulk({objects, n}); }
    packet* alloc() { return packets_.alloc(); }
    bool alloc(packet** packets, std::size_t n) { return packets_.alloc_bulk({packets, n}); }
    static void free(packet* of) { cohort::free(of); }
    static void free(packet** packets, std::size_t n) { free_bulk({packets, n}); }
    packet* clone(packet* of) { return cohort::clone(*of, packets_.objects()); }
    static bool chain(packet* head, packet* tail) { return cohort::chain(*head, *tail); }
    static std::uint64_t* data(packet* of)
    {
        return reinterpret_cast<std::uint64_t*>(of->buf_addr + of->data_off);
    }

    std::size_t hand(void* const* items, std::size_t n)
    {
        return handed_.enqueue_burst({items, n});
    }
    std::size_t take(void** items, std::size_t n) { return handed_.dequeue_burst({items, n}); }
    std::size_t send(void* const* items, std::size_t n) { return there_.enqueue_burst({items, n}); }
    std::size_t receive(void** items, std::size_t n) { return there_.dequeue_burst({items, n}); }
    std::size_t send_back(void* const* items, std::size_t n)
    {
        return back_.enqueue_burst({items, n});
    }
    std::size_t receive_back(void** items, std::size_t n)
    {
        return back_.dequeue_burst({items, n});
    }

    [[nodiscard]] std::size_t missing() const
    {
        return objects_.in_use() + packets_.objects().in_use();
    }

private:
    static constexpr ring_options single{.producers = ring_mode::single,
                                         .consumers = ring_mode::single};

    template <typename T>
    static ring<void*> find(const char* name)
    {
        return ring<void*>{joined->find_ring<T>(name)->layout()};
    }

    mempool objects_ = *joined->find_mempool("objects");
    pktmbuf_pool packets_ = *joined->find_pktmbuf_pool("packets");
    ring<void*> handed_ = find<object*>("handed");
    ring<void*> there_ = find<mbuf*>("there");
    ring<void*> back_ = find<mbuf*>("back");
};

std::vector<packet_kind> kinds_of(bool with_dpdk)
{
    auto list = cohort_packets();
    if (with_dpdk)
        for (auto& each : dpdk_packets())
            list.push_back(each);
    return list;
}

void take_part(const packet_kind& kind, packet_round& round, std::uint32_t who)
{
    round.ready.fetch_add(1);
    while (round.started.load(std::memory_order_acquire) == 0)
        detail::wait(round);
    kind.follow(round, who);
    joined->leave_lane();  // its sides of the rings are free for the next round
    round.finished.fetch_add(1);
}

}  // namespace

std::vector<packet_kind> cohort_packets()
{
    return {detail::packet_kind_of<cohort_side>("ours")};
}

int play_packets(bool with_dpdk, std::uint32_t who)
{
    const auto domain = secondary::attach(domain_name, patience, fmt::format("packets {}", who));
    joined = domain.get();
    if (with_dpdk && !start_eal({.as = role::secondary,
                                 .prefix = dpdk_prefix,
                                 .processor = static_cast<int>(who % 2),
                                 .lcore = static_cast<int>(who)}))
        throw std::runtime_error{"DPDK's secondary does not start"};
    pin_to(static_cast<int>(who % 2));
    const auto kinds = kinds_of(with_dpdk);
    auto& round = *reinterpret_cast<packet_round*>(domain->find_memzone(round_name).data());
    test::say("ready");
    for (auto line = test::hear(); !line.empty(); line = test::hear())
        take_part(kinds.at(round.kind), round, who);
    return 0;
}

struct packet_stage::cast {
    std::unique_ptr<primary::owner> domain =
        primary::start({.name = domain_name, .memory = 48_MiB, .huge = huge_policy::only_2m});
    memzone zone = domain->reserve_memzone(round_name, sizeof(packet_round));
    std::vector<packet_kind> kinds;
    std::vector<test::child_process> others;
    bool with_dpdk;

    explicit cast(bool dpdk) : kinds{kinds_of(dpdk)}, with_dpdk{dpdk}
    {
        joined = domain.get();
        for (const auto& each : kinds)
            each.make();
    }

    /// What is wrong is no measurement.
    static void require_sound(const packet_kind& kind, std::uint64_t wrong)
    {
        if (const auto missing = kind.missing(); wrong != 0 || missing != 0)
            throw std::runtime_error{fmt::format("{}: {} calls or packets went wrong, {} objects "
                                                 "are in no pool",
                                                 kind.name, wrong, missing)};
    }

    /// Nanoseconds of one turn of a loop, by one thread.
    template <typename Loop>
    static double turn(const packet_kind& kind, Loop loop)
    {
        constexpr std::uint64_t times = 1u << 18;
        const pinned here{0};
        const auto start = clock::now();
        const auto failed = loop(times);
        const auto nanoseconds = milliseconds_since(start) * 1e6;
        require_sound(kind, failed);
        return nanoseconds / static_cast<double>(times);
    }

    /// Million objects a second between processes.
    double together(const packet_kind& kind, errand what, std::uint32_t processes = 2)
    {
        while (others.size() + 1 < processes) {
            others.push_back(test::child_process::spawn(
                "/proc/self/exe", {"--packets", with_dpdk ? "dpdk" : "ours", "--who",
                                   std::to_string(others.size() + 1)}));
            others.back().await("ready", patience);
        }
        const pinned here{0};
        auto& round = *new (zone.data()) packet_round{};
        round.kind = static_cast<std::uint32_t>(&kind - kinds.data());
        round.what = what;
        round.processes = processes;
        round.total = 1u << 20;
        for (std::uint32_t i = 1; i != processes; ++i)
            others[i - 1].tell("go");
        while (round.ready.load() != processes - 1)
            std::this_thread::yield();
        const auto start = clock::now();
        round.started.store(1, std::memory_order_release);
        const auto wrong = kind.lead(round);
        while (round.finished.load() != processes - 1)
            detail::wait(round);
        const auto seconds = milliseconds_since(start) / 1e3;
        domain->leave_lane();
        require_sound(kind, wrong);
        return static_cast<double>(round.total) / seconds / 1e6;
    }

    using figure = std::function<double(const packet_kind&)>;

    /// Ours beside DPDK.
    void add(std::vector<measurement>& list, std::string name, std::string unit, better wanted,
             std::optional<double> target, const figure& measure) const
    {
        measurement made{.name = std::move(name), .unit = std::move(unit), .wanted = wanted};
        made.pages = "2M";
        made.ours = [measure, &kind = kinds[0]] { return measure(kind); };
        for (std::size_t i = 1; i < kinds.size(); ++i)
            made.peers.push_back(
                {kinds[i].name, [measure, &kind = kinds[i]] { return measure(kind); }, target});
        list.push_back(std::move(made));
    }
};

packet_stage::packet_stage(bool with_dpdk) : cast_{std::make_unique<cast>(with_dpdk)}
{
}
packet_stage::~packet_stage() = default;

std::vector<measurement> packet_stage::measurements()
{
    auto& stage = *cast_;
    std::vector<measurement> list;
    for (const std::uint32_t burst : {1u, 8u, 32u})
        stage.add(list, fmt::format("pool, get and put of {}, cached", burst), "ns", better::lower,
                  1.1, [burst](const packet_kind& kind) {
                      return cast::turn(kind,
                                        [&](std::uint64_t n) { return kind.objects(n, burst); });
                  });
    struct one_thread {
        const char* name;
        std::uint64_t (*packet_kind::*loop)(std::uint64_t);
    };
    for (const one_thread& each : {one_thread{"packet, alloc and free", &packet_kind::single},
                                   {"packet, alloc and free of 32", &packet_kind::bulk},
                                   {"packet, clone and free", &packet_kind::clones},
                                   {"packet, chain of 4", &packet_kind::chains}})
        stage.add(list, each.name, "ns", better::lower, 1.1,
                  [each](const packet_kind& kind) { return cast::turn(kind, kind.*each.loop); });
    stage.add(list, "pool, gotten here and put there, two processes, bursts of 32", "M/s",
              better::higher, 1.1, [&stage](const packet_kind& kind) {
                  return stage.together(kind, errand::pass_objects);
              });
    stage.add(list, "packet, pipeline there and back, two processes, bursts of 32", "M/s",
              better::higher, 1.2,
              [&stage](const packet_kind& kind) { return stage.together(kind, errand::pipeline); });
    for (const auto& [processes, split] :
         {std::pair{1u, "one process"}, {2u, "two"}, {3u, "three"}})
        stage.add(list, fmt::format("packet, forwarded by {}, bursts of 32", split), "ns",
                  better::lower, processes == 1 ? std::nullopt : std::optional{1.2},
                  [&stage, processes = processes](const packet_kind& kind) {
                      return 1e3 / stage.together(kind, errand::forward, processes);
                  });
    return list;
}

}  // namespace cohort::bench
