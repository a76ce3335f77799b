#include "capture.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "packet_filter.hpp"
#include "packet_sink.hpp"
#include "packet_source.hpp"

#include <chrono>
#include <cstdio>

#include <fmt/format.h>

#include <signal.h>

namespace cohort::tool {
namespace {

/// SIGINT and SIGTERM wait until they are asked for, in all threads made from here on.
class pending_end {
public:
    pending_end() noexcept
    {
        sigemptyset(&signals_);
        sigaddset(&signals_, SIGINT);
        sigaddset(&signals_, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    }
    /// Whether one has come, or comes within a millisecond.
    [[nodiscard]] bool comes() const noexcept
    {
        constexpr timespec moment{.tv_sec = 0, .tv_nsec = 1'000'000};
        return sigtimedwait(&signals_, nullptr, &moment) > 0;
    }
    [[nodiscard]] bool has_come() const noexcept
    {
        constexpr timespec now{};
        return sigtimedwait(&signals_, nullptr, &now) > 0;
    }

private:
    sigset_t signals_{};
};

struct totals {
    std::uint64_t seen = 0;
    std::uint64_t captured = 0;
};

/// Returns when it is over.
totals move_packets(const capture_request& request, packet_source& from,
                    const packet_filter& filter, packet_sink& to, const pending_end& end)
{
    constexpr std::uint64_t often = 256;  // looks at the clock and for signals
    const auto until = request.seconds > 0 ? steady_clock::now() +
                                                 std::chrono::duration_cast<steady_clock::duration>(
                                                     std::chrono::duration<double>{request.seconds})
                                           : deadline::max();
    totals sum;
    while (request.count == 0 || sum.captured < request.count) {
        const auto packet = from.next();
        if (packet) {
            ++sum.seen;
            if (filter.passes(*packet)) {
                to.put(*packet);
                ++sum.captured;
            }
            if (sum.seen % often != 0)
                continue;
        } else {
            to.flush();
        }
        if (!from.is_there() || steady_clock::now() >= until ||
            (packet ? end.has_come() : end.comes()))
            break;
    }
    return sum;
}

}  // namespace

void declare_capture(CLI::App& program, capture_request& request)
{
    auto* command = program.add_subcommand(
        "capture", "packets that pass a port, or lie in a ring: into a file, or as lines");
    command->fallthrough();
    command->add_option("NAME", request.name, "port, or ring of mbufs")->required();
    auto* file = command->add_option("-w,--write", request.file,
                                     "pcapng file for tshark and others; - is standard output");
    command->add_flag("--json", request.json, "a line of JSON for each packet, and one that counts")
        ->excludes(file);
    command->add_option("-f,--filter", request.filter, "only those; see pcap-filter(7)");
    command->add_option("-s,--snaplen", request.snap_length, "bytes kept of each packet")
        ->check(CLI::Range(1u, max_capture_length))
        ->capture_default_str();
    command->add_option("-c,--count", request.count, "end after so many; 0: go on")
        ->capture_default_str();
    command->add_option("--seconds", request.seconds, "end after that time; 0: go on")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
}

int capture(const std::string& domain, const capture_request& request)
{
    const pending_end end;
    const auto source = open_source(domain, request.name, request.snap_length);
    const packet_filter filter{request.filter, source->link()};
    const auto sink = request.json ? print_json(source->link())
                      : request.file.empty()
                          ? print_lines(source->link())
                          : open_pcapng(request.file, {.name = request.name,
                                                       .link = source->link(),
                                                       .snap_length = request.snap_length});
    fmt::print(stderr, "capturing {}\n", request.name);
    const auto sum = move_packets(request, *source, filter, *sink, end);
    const auto missed = source->missed();
    sink->finish(sum.seen + missed, missed);
    fmt::print(stderr, "{} packets captured of {} seen, {} missed\n", sum.captured, sum.seen,
               missed);
    return 0;
}

}  // namespace cohort::tool
