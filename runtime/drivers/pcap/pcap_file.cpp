#include "pcap_file.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/port/burst_journal.hpp"
#include "cohort/port/drivers.hpp"
#include "pcap_options.hpp"
#include "queue_words.hpp"

#include <algorithm>

#include <sys/timerfd.h>

namespace cohort::detail {
namespace {

using namespace pcap_word;

// Who comes late does not make up for more than that.
constexpr std::uint64_t most_arrears_ns = 10'000'000;

}  // namespace

file_rx::file_rx(port_layout& port)
    : captured_rx{port, snap_length_option(port.options.view())}
    , path_{option_value(port.options.view(), "rx")}
    , per_loop_{port.driver_words[rx_packets]}
    , end_{per_loop_ * port.driver_words[rx_loops]}
    , gap_ns_{gap_option(port.options.view())}
{
    if (gap_ns_ == 0)
        return;
    timer_ = file_descriptor{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)};
    if (!timer_)
        throw_errno(errno, "cannot make a timer for a pcap port");
}

bool file_rx::seek(std::uint64_t position) noexcept
{
    holds_ = false;
    if (!reader_.open(path_)) {
        count_up(queue().errors, 1);
        return false;
    }
    captured_packet passed;
    for (auto to_skip = per_loop_ == 0 ? 0 : position % per_loop_; to_skip != 0; --to_skip)
        if (reader_.next(passed) != capture_reader::outcome::packet)
            break;
    return true;
}

/// When the packet is to come, in ns of the steady clock: the first one at once.
std::uint64_t file_rx::due(std::uint64_t position, const captured_packet& next) noexcept
{
    const auto went = queue().aux[paced_word::went].load(plain);  // ours alone
    if (went == 0)
        return monotonic_ns();
    if (gap_ns_ != as_recorded)
        return went + gap_ns_;
    const auto before = queue().aux[paced_word::stamp].load(plain);
    const bool first = position % per_loop_ == 0;
    return went + (first || next.timestamp_ns < before ? 0 : next.timestamp_ns - before);
}

/// Starts the file again between loops.
bool file_rx::fetch(std::uint64_t position, captured_packet& next) noexcept
{
    if (position == end_ || broken_)
        return false;
    if (!holds_) {
        const bool new_pass = position != 0 && position % per_loop_ == 0;
        holds_ = (!new_pass || reader_.open(path_)) &&
                 reader_.next(held_) == capture_reader::outcome::packet;
        broken_ = !holds_;  // a file that has shrunk since its creation ends here
    }
    if (!holds_)
        return false;
    if (gap_ns_ != 0) {
        const auto when = due(position, held_);
        const auto now = monotonic_ns();
        if (now < when)
            return false;
        const auto arrears = std::max(when, now - std::min(now, most_arrears_ns));
        queue().aux[paced_word::went].store(arrears, plain);  // read after a death
        queue().aux[paced_word::stamp].store(held_.timestamp_ns, plain);
    }
    holds_ = false;
    next = held_;
    return true;
}

void file_rx::pass(std::uint64_t position) noexcept
{
    // The record in which a truncated file breaks off is lost in each pass.
    if (port().driver_words[rx_truncated] != 0 && position % per_loop_ == 0)
        count_up(queue().errors, 1);
}

void file_rx::end_burst(std::uint64_t position) noexcept
{
    if (queue().ended.load(plain) != 0)
        return;
    if (broken_)
        count_up(queue().errors, 1);
    if (broken_ || position == end_)
        queue().ended.store(1, std::memory_order_release);  // after the last packets are counted
}

rx_outlook file_rx::arm() noexcept
{
    if (queue().ended.load(plain) != 0)  // this lane has read to the end
        return rx_outlook::silent;
    const auto position = queue().position.load(plain);  // ours alone
    if (gap_ns_ == 0 || peek(position) || !holds_)
        return rx_outlook::ready;
    const auto when = std::max<std::uint64_t>(1, due(position, held_));
    itimerspec until{};
    until.it_value.tv_sec = static_cast<time_t>(when / 1'000'000'000);
    until.it_value.tv_nsec = static_cast<long>(when % 1'000'000'000);
    ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &until, nullptr);
    return rx_outlook::waiting;
}

file_tx::file_tx(port_layout& port)
    : queue_{port.tx[0]}
    , path_{option_value(port.options.view(), "tx")}
    , mark_{port.driver_words[tx_mark]}
    , writer_{format_option(port.options.view()),
              static_cast<std::uint32_t>(snap_length_option(port.options.view()))}
{
}

bool file_tx::open() noexcept
{
    return succeeded(writer_.open(path_, queue_.position.load(plain), mark_));  // ours now
}

std::size_t file_tx::burst(std::span<mbuf* const> packets) noexcept
{
    const auto from = queue_.position.load(plain);  // ours alone
    const auto staged = writer_.stage(packets.first(std::min(packets.size(), max_port_burst)));
    const auto accepted = packets.first(staged.packets);
    if (accepted.empty())
        return 0;
    begin_tx(queue_, accepted,
             {.position = from + staged.file_bytes, .bytes = staged.packet_bytes});
    if (!succeeded(writer_.write(staged, from))) {
        cancel_tx(queue_);
        return 0;
    }
    commit_tx(queue_, accepted);
    return accepted.size();
}

bool file_tx::succeeded(int reason) noexcept
{
    if (reason != 0) {
        count_up(queue_.errors, 1);
        queue_.last_errno.store(reason, plain);  // for display
    }
    return reason == 0;
}

}  // namespace cohort::detail
