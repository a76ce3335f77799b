#include "metrics.hpp"

#include "activity.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace cohort::tool {
namespace {

/// Families by name, in order of first use.
class collector {
public:
    explicit collector(std::string domain) : domain_{std::move(domain)} {}

    template <typename Value>
    void add(const char* name, const char* help, metric_type type,
             std::map<std::string, std::string> labels, Value value)
    {
        if (families_.empty() || families_.back().name != name) {
            const auto known = std::find_if(families_.begin(), families_.end(),
                                            [&](const auto& each) { return each.name == name; });
            if (known != families_.end())
                return add_to(*known, std::move(labels), static_cast<double>(value));
            families_.push_back({name, help, type, {}});
        }
        add_to(families_.back(), std::move(labels), static_cast<double>(value));
    }
    [[nodiscard]] std::vector<metric_family> take() { return std::move(families_); }

private:
    void add_to(metric_family& family, std::map<std::string, std::string> labels, double value)
    {
        labels["domain"] = domain_;
        family.samples.push_back({std::move(labels), value});
    }

    std::string domain_;
    std::vector<metric_family> families_;
};

constexpr auto gauge = metric_type::gauge;
constexpr auto counter = metric_type::counter;

void add_objects(collector& into, const snapshot& seen)
{
    for (const auto& [name, ring] : seen.rings) {
        const std::map<std::string, std::string> labels{{"ring", name}};
        into.add("cohort_ring_elements", "Elements in a ring", gauge, labels, ring.count);
        into.add("cohort_ring_capacity", "Elements that fit", gauge, labels, ring.capacity);
        into.add("cohort_ring_stalls", "Calls that gave up behind a live claimant", counter, labels,
                 ring.stalls);
        into.add("cohort_ring_dropped", "Elements that found no room", counter, labels, ring.drops);
    }
    for (const auto& [name, pool] : seen.pools) {
        const std::map<std::string, std::string> labels{{"pool", name}};
        into.add("cohort_pool_objects", "Objects of a pool", gauge, labels, pool.count);
        into.add("cohort_pool_available", "Objects in no one's hands", gauge, labels, pool.free);
        into.add("cohort_pool_failed_gets", "Gets that found the pool empty", counter, labels,
                 pool.failed);
    }
    for (const auto& [name, port] : seen.ports) {
        const std::map<std::string, std::string> labels{{"port", name}};
        into.add("cohort_port_received", "Packets received", counter, labels, port.received);
        into.add("cohort_port_sent", "Packets sent", counter, labels, port.sent);
        into.add("cohort_port_dropped", "Packets refused, or without a buffer", counter, labels,
                 port.drops);
    }
    for (const auto& [key, lane] : seen.lanes)
        if (lane.busy_ns >= 0)
            into.add(
                "cohort_lane_busy_seconds", "Time of a lane's thread on a processor", counter,
                {{"lane", std::to_string(key >> 32)}, {"name", lane.name}, {"member", lane.member}},
                static_cast<double>(lane.busy_ns) / 1e9);
}

void add_memory(collector& into, const region_layout& region)
{
    for (const auto& list : region.memory.lists) {
        if (list.page_bytes == 0)
            continue;
        const std::map<std::string, std::string> labels{
            {"node", std::to_string(list.numa_node)},
            {"page_bytes", std::to_string(list.page_bytes)}};
        into.add("cohort_memory_bytes", "Bytes of pages that exist", gauge, labels,
                 list.published.load(std::memory_order_relaxed));  // for display
    }
}

/// A label's value: backslash, quote and newline are escaped.
std::string quoted(const std::string& value)
{
    std::string text = "\"";
    for (const char letter : value) {
        if (letter == '\\' || letter == '"')
            text += '\\';
        text += letter == '\n' ? "\\n" : std::string{letter};
    }
    return text + '"';
}

}  // namespace

std::vector<metric_family> collect_metrics(const std::string& domain, const region_layout& region)
{
    collector all{domain};
    const auto seen = take_snapshot(region);
    all.add("cohort_members", "Live members", gauge, {}, seen.members);
    all.add("cohort_lanes", "Live lanes", gauge, {}, seen.lanes.size());
    all.add("cohort_epoch", "Primaries that have served the domain", counter, {},
            region.header.epoch.load(std::memory_order_relaxed));  // for display
    add_memory(all, region);
    add_objects(all, seen);
    return all.take();
}

nlohmann::json to_json(const std::vector<metric_family>& families)
{
    auto all = nlohmann::json::array();
    for (const auto& family : families) {
        auto samples = nlohmann::json::array();
        for (const auto& sample : family.samples)
            samples.push_back({{"labels", sample.labels}, {"value", sample.value}});
        all.push_back({{"name", family.name},
                       {"help", family.help},
                       {"type", family.type == metric_type::counter ? "counter" : "gauge"},
                       {"samples", std::move(samples)}});
    }
    return all;
}

std::string to_openmetrics(const std::vector<metric_family>& families)
{
    std::string text;
    for (const auto& family : families) {
        const bool counts = family.type == metric_type::counter;
        text += fmt::format("# TYPE {0} {1}\n# HELP {0} {2}.\n", family.name,
                            counts ? "counter" : "gauge", family.help);
        for (const auto& sample : family.samples) {
            std::string labels;
            for (const auto& [key, value] : sample.labels)
                labels += (labels.empty() ? "" : ",") + key + "=" + quoted(value);
            text += fmt::format("{}{}{{{}}} {}\n", family.name, counts ? "_total" : "", labels,
                                sample.value);
        }
    }
    return text + "# EOF\n";
}

}  // namespace cohort::tool
