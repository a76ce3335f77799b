#include "custody_bench.hpp"

#include "packet_bench.hpp"
#include "support/child_process.hpp"
#include "support/conversation.hpp"
#include "support/scratch_directory.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

namespace cohort::bench {
namespace {

constexpr auto patience = std::chrono::seconds{60};
constexpr double allowed = 0.95;  // of the rate without custody

double figure_of(test::child_process& program, const std::string& name)
{
    program.tell(name);
    if (const auto line = program.read_line(patience))
        return std::stod(*line);
    throw std::runtime_error{"no figure of " + name};
}

}  // namespace

struct custody_stage::cast {
    test::child_process with;
    test::child_process without;

    explicit cast(const std::string& other)
        : with{test::child_process::spawn("/proc/self/exe", {"--figures"})}
        , without{test::child_process::spawn(other, {"--figures"})}
    {
        for (auto* program : {&with, &without})
            program->await("ready", patience);
    }
    ~cast()
    {
        for (auto* program : {&with, &without}) {
            program->tell("");
            static_cast<void>(program->wait(patience));  // with the process that it started
        }
    }
    cast(const cast&) = delete;
    cast& operator=(const cast&) = delete;
};

custody_stage::custody_stage()
{
    if (const auto* other = std::getenv("COHORT_BENCH_WITHOUT_CUSTODY"))
        cast_ = std::make_unique<cast>(other);
    else
        fmt::print(stderr, "cohort_bench: what custody costs is left out, for "
                           "COHORT_BENCH_WITHOUT_CUSTODY names no program\n");
}
custody_stage::~custody_stage() = default;

std::vector<measurement> custody_stage::measurements()
{
    struct errand_row {
        const char* name;
        const char* unit;
        better wanted;
    };
    constexpr std::array rows{
        errand_row{"packet, pipeline there and back, two processes, bursts of 32", "M/s",
                   better::higher},
        errand_row{"packet, alloc and free of 32", "ns", better::lower},
        errand_row{"packet, chain of 4", "ns", better::lower},
        errand_row{"pool, get and put of 32, cached", "ns", better::lower},
        errand_row{"pool, gotten here and put there, two processes, bursts of 32", "M/s",
                   better::higher},
    };
    std::vector<measurement> list;
    for (const auto& each : rows) {
        if (!cast_)
            break;
        list.push_back(
            {.name = fmt::format("custody on and off: {}", each.name),
             .unit = each.unit,
             .wanted = each.wanted,
             .ours = [this, name = each.name] { return figure_of(cast_->with, name); },
             .peers = {{"without",
                        [this, name = each.name] { return figure_of(cast_->without, name); },
                        allowed}},
             .pages = "2M"});
    }
    return list;
}

int tell_figures()
{
    const test::scratch_runtime_directory rendezvous;
    packet_stage packets{false};
    const auto known = packets.measurements();
    test::say("ready");
    for (auto line = test::hear(); !line.empty(); line = test::hear()) {
        const auto found = std::ranges::find(known, line, &measurement::name);
        if (found == known.end())
            throw std::runtime_error{"there is no measurement " + line};
        test::say(fmt::format("{}", found->ours()));
    }
    return 0;
}

}  // namespace cohort::bench
