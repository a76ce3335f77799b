#include "region_view.hpp"
#include "stages.hpp"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace pipeline {
namespace {

using nlohmann::ordered_json;

std::uint64_t value(const std::atomic<std::uint64_t>& counter) noexcept
{
    return counter.load(std::memory_order_relaxed);  // for display
}

/// The obituary of that member, or nullptr while it lives or when newer ones have displaced it.
const cohort::obituary_layout* find_obituary(const cohort::recovery_layout& recovery,
                                             std::uint64_t member) noexcept
{
    for (const auto& entry : recovery.obituaries)
        if (entry.number.load(std::memory_order_acquire) != 0 &&
            (std::uint64_t{entry.member} << 32 | entry.generation) == member)
            return &entry;
    return nullptr;
}

ordered_json describe_worker(const worker_slot& slot, const cohort::recovery_layout& recovery)
{
    const auto* obituary = find_obituary(recovery, value(slot.member));
    const auto& counts = slot.counts;
    return {{"name", slot.name.view()},
            {"index", slot.index},
            {"pid", slot.pid},
            {"fate", !obituary           ? "alive"
                     : obituary->orderly ? "left"
                                         : "died"},
            {"packets", value(counts.packets)},
            {"ttl_lowered", value(counts.lowered)},
            {"redelivered", value(counts.redelivered)},
            {"redone", value(counts.redone)},
            {"flows", value(counts.flows)},
            {"ipv4", value(counts.ipv4)},
            {"ipv6", value(counts.ipv6)},
            {"not_ip", value(counts.not_ip)},
            {"tcp", value(counts.tcp)},
            {"udp", value(counts.udp)},
            {"icmp", value(counts.icmp)},
            {"vlan", value(counts.vlan)}};
}

ordered_json describe_workers(const region_view& view)
{
    auto workers = ordered_json::array();
    for (const auto& slot : view.run().slots)
        if (value(slot.member) != 0)
            workers.push_back(describe_worker(slot, view.region().recovery));
    return workers;
}

ordered_json describe_deaths(const cohort::recovery_layout& recovery)
{
    auto deaths = ordered_json::array();
    for (const auto& entry : recovery.obituaries) {
        if (entry.number.load(std::memory_order_acquire) == 0 || entry.orderly != 0)
            continue;
        deaths.push_back({{"name", entry.name.view()},
                          {"pid", entry.pid},
                          {"packets_held", value(entry.received)},
                          {"packets_redelivered", value(entry.redelivered)},
                          {"packets_delivered_later", value(entry.waiting)},
                          {"buffers_released", value(entry.released)},
                          {"buffers_cached", value(entry.cached)}});
    }
    return deaths;
}

ordered_json describe_audit(const region_view& view)
{
    const auto found = audit(audited(view.region()));
    auto pools = ordered_json::array();
    for (const auto& pool : found.pools)
        pools.push_back({{"name", pool.name},
                         {"buffers", pool.count},
                         {"in_pool", pool.in_pool},
                         {"cached", pool.cached},
                         {"in_rings", pool.in_rings},
                         {"held", pool.held},
                         {"followers", pool.followers},
                         {"shared", pool.shared},
                         {"kept", pool.kept},
                         {"waiting", pool.waiting},
                         {"unexplained", pool.unexplained}});
    return {{"clean", found.clean()}, {"faults", found.faults}, {"pools", pools}};
}

ordered_json describe_memory(const cohort::memory_layout& memory)
{
    auto lists = ordered_json::array();
    for (const auto& list : memory.lists) {
        const auto committed = value(list.published);
        if (list.page_bytes != 0 && committed != 0)
            lists.push_back({{"page_bytes", list.page_bytes},
                             {"pages", committed / list.page_bytes},
                             {"numa_node", list.numa_node}});
    }
    return lists;
}

ordered_json describe_run(const region_view& view)
{
    const auto& port = view.port();
    const auto first = value(view.run().first_rx_ns);
    const auto last = value(view.run().last_tx_ns);
    const double seconds = last > first ? static_cast<double>(last - first) / 1e9 : 0;
    const auto out = view.packets_out();
    const auto rate =
        seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(out) / seconds) : 0;
    return {{"domain", view.region().header.name.view()},
            {"done", view.done()},
            {"loops", view.loops()},
            {"packets_in", view.packets_in()},
            {"packets_out", out},
            {"bytes_in", value(port.rx[0].bytes)},
            {"bytes_out", value(port.tx[0].bytes)},
            {"rx_errors", value(port.rx[0].errors)},
            {"rx_waited_for_buffers", value(port.rx[0].no_buffer)},
            {"tx_errors", value(port.tx[0].errors)},
            {"seconds", seconds},
            {"packets_per_second", rate},
            {"workers", describe_workers(view)},
            {"deaths", describe_deaths(view.region().recovery)},
            {"audit", describe_audit(view)},
            {"memory", describe_memory(view.region().memory)}};
}

std::uint64_t number(const ordered_json& object, const char* key)
{
    return object.at(key).get<std::uint64_t>();
}

std::string text(const ordered_json& object, const char* key)
{
    return object.at(key).get<std::string>();
}

void print_workers(const ordered_json& workers)
{
    fmt::print("\n{:<16}{:<7}{:>10}{:>9}{:>9}{:>8}{:>9}{:>9}{:>9}{:>8}{:>8}\n", "worker", "fate",
               "packets", "IPv4", "IPv6", "other", "TCP", "UDP", "ICMP", "VLAN", "flows");
    for (const auto& worker : workers)
        fmt::print("{:<16}{:<7}{:>10}{:>9}{:>9}{:>8}{:>9}{:>9}{:>9}{:>8}{:>8}\n",
                   text(worker, "name"), text(worker, "fate"), number(worker, "packets"),
                   number(worker, "ipv4"), number(worker, "ipv6"), number(worker, "not_ip"),
                   number(worker, "tcp"), number(worker, "udp"), number(worker, "icmp"),
                   number(worker, "vlan"), number(worker, "flows"));
}

void print_deaths(const ordered_json& run)
{
    for (const auto& death : run.at("deaths"))
        fmt::print("died         {} (pid {}) held {} packets: {} redelivered at once, {} later; {} "
                   "buffers back to the pool\n",
                   text(death, "name"), number(death, "pid"), number(death, "packets_held"),
                   number(death, "packets_redelivered"), number(death, "packets_delivered_later"),
                   number(death, "buffers_released"));
    for (const auto& worker : run.at("workers"))
        if (number(worker, "redelivered") != 0)
            fmt::print("             {} took over {} of them, {} half-done\n", text(worker, "name"),
                       number(worker, "redelivered"), number(worker, "redone"));
}

void print_audit(const ordered_json& audit)
{
    fmt::print("audit        {}\n", audit.at("clean").get<bool>() ? "clean" : "NOT CLEAN");
    for (const auto& fault : audit.at("faults"))
        fmt::print("             {}\n", fault.get<std::string>());
    constexpr std::array<std::pair<const char*, const char*>, 8> places{
        {{"in_pool", "in the pool"},
         {"cached", "cached"},
         {"in_rings", "in rings"},
         {"held", "held"},
         {"followers", "behind others"},
         {"shared", "kept by clones"},
         {"kept", "kept by the domain"},
         {"waiting", "waiting"}}};
    for (const auto& pool : audit.at("pools")) {
        std::string sum;
        for (const auto& [key, words] : places)
            if (number(pool, key) != 0)
                sum += fmt::format("{}{} {}", sum.empty() ? "" : " + ", number(pool, key), words);
        fmt::print("             {}: {} buffers = {}\n", text(pool, "name"),
                   number(pool, "buffers"), sum);
    }
}

void print_text(const ordered_json& run)
{
    fmt::print("packets      {} in, {} out, {} per second over {:.2f} s\n",
               number(run, "packets_in"), number(run, "packets_out"),
               number(run, "packets_per_second"), run.at("seconds").get<double>());
    fmt::print("loops        {}\n", number(run, "loops"));
    fmt::print("bytes        {} in, {} out\n", number(run, "bytes_in"), number(run, "bytes_out"));
    if (number(run, "rx_errors") + number(run, "tx_errors") != 0)
        fmt::print("errors       {} on rx, {} on tx\n", number(run, "rx_errors"),
                   number(run, "tx_errors"));
    for (const auto& list : run.at("memory"))
        fmt::print("memory       {} pages of {} = {} on node {}\n", number(list, "pages"),
                   cohort::bytes_text(number(list, "page_bytes")),
                   cohort::bytes_text(number(list, "pages") * number(list, "page_bytes")),
                   list.at("numa_node").get<int>());
    print_deaths(run);
    print_audit(run.at("audit"));
    print_workers(run.at("workers"));
}

}  // namespace

int report(const report_options& options)
{
    using namespace std::chrono_literals;
    const auto observer = cohort::secondary::observe(options.domain, 5s);
    const auto run = describe_run(region_view{observer.region()});
    if (options.json)
        fmt::print("{}\n", run.dump(2));
    else
        print_text(run);
    const bool whole = run.at("done").get<bool>() && run.at("audit").at("clean").get<bool>();
    return whole ? 0 : 1;
}

}  // namespace pipeline
