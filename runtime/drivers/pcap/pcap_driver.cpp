#include "pcap_driver.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"
#include "cohort/port/burst_journal.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/port/port_driver.hpp"
#include "pcap_reader.hpp"
#include "pcap_writer.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace cohort {
namespace {

using detail::capture_reader;
using namespace pcap_word;

constexpr std::array<std::string_view, 4> option_keys{"rx", "tx", "loops", "linktype"};

/// What a burst on the rx queue needs, apart from the shared state.
class pcap_rx {
public:
    explicit pcap_rx(port_layout& port)
        : port_{port}
        , queue_{port.rx[0]}
        , path_{option_value(port.options.view(), "rx")}
        , end_{port.driver_words[rx_packets] * port.driver_words[rx_loops]}
    {
    }

    bool open(mempool_layout* pool) noexcept;
    [[nodiscard]] rx_outlook outlook() const noexcept
    {
        return queue_.ended.load(std::memory_order_relaxed) != 0  // this lane has read to the end
                   ? rx_outlook::silent
                   : rx_outlook::ready;
    }
    std::size_t burst(std::span<mbuf*> packets) noexcept;

private:
    [[nodiscard]] bool fetch(std::uint64_t position) noexcept;
    [[nodiscard]] bool fits_pool() noexcept;
    [[nodiscard]] mbuf* make_packet() noexcept;
    void pass_on(std::uint64_t& position) noexcept;
    void finish(std::uint64_t position) noexcept;

    port_layout& port_;
    port_queue_layout& queue_;
    std::string path_;
    std::uint64_t end_;
    std::optional<pktmbuf_pool> pool_;
    capture_reader reader_;
    detail::captured_packet next_;  // read but not delivered, when `have_next_`
    bool have_next_ = false;
};

bool pcap_rx::open(mempool_layout* pool) noexcept
{
    pool_.reset();
    if (pool)
        pool_.emplace(*pool);
    have_next_ = false;
    const auto per_loop = port_.driver_words[rx_packets];
    auto to_skip =
        per_loop == 0 ? 0 : queue_.position.load(std::memory_order_relaxed) % per_loop;  // ours now
    if (!pool_ || !reader_.open(path_)) {
        count_up(queue_.errors, 1);
        return false;
    }
    while (to_skip != 0 && reader_.next(next_) == capture_reader::outcome::packet)
        --to_skip;
    return true;
}

/// Makes `next_` the packet at `position`; starts the file again between loops.
bool pcap_rx::fetch(std::uint64_t position) noexcept
{
    if (have_next_)
        return true;
    const bool new_pass = position != 0 && position % port_.driver_words[rx_packets] == 0;
    if (new_pass && !reader_.open(path_))
        return false;
    have_next_ = reader_.next(next_) == capture_reader::outcome::packet;
    return have_next_;
}

bool pcap_rx::fits_pool() noexcept
{
    const auto& pool = pool_->objects().layout();
    const std::size_t room = pool.data_room;
    const auto first = room - std::min<std::size_t>(room, mbuf_headroom);
    const auto length = next_.bytes.size();
    const auto buffers = length <= first ? 1 : 1 + (length - first + room - 1) / room;
    return buffers <=
           std::min<std::size_t>(pool.count(), std::numeric_limits<std::uint16_t>::max());
}

mbuf* pcap_rx::make_packet() noexcept
{
    mbuf* packet = pool_->alloc_chain(next_.bytes.size());
    if (!packet)
        return nullptr;
    static_cast<void>(write(*packet, 0, next_.bytes));  // it is as long as that
    packet->port = port_.index;
    packet->timestamp = next_.timestamp_ns;
    packet->wire_len = next_.wire_length > packet->pkt_len ? next_.wire_length : 0;
    return packet;
}

void pcap_rx::pass_on(std::uint64_t& position) noexcept
{
    ++position;
    have_next_ = false;
    const auto& facts = port_.driver_words;
    // The record in which a truncated file breaks off is lost in each pass.
    if (facts[rx_truncated] != 0 && position % facts[rx_packets] == 0)
        count_up(queue_.errors, 1);
}

void pcap_rx::finish(std::uint64_t position) noexcept
{
    if (position == end_)
        queue_.ended.store(1, std::memory_order_release);  // after the last packets are counted
}

std::size_t pcap_rx::burst(std::span<mbuf*> packets) noexcept
{
    const auto from = queue_.position.load(std::memory_order_relaxed);  // ours alone
    const auto most = std::min(packets.size(), max_port_burst);
    burst_result result{.position = from};
    std::size_t count = 0;
    bool broken = false;
    while (count != most && result.position != end_) {
        broken = !fetch(result.position);
        if (broken)
            break;
        if (!fits_pool()) {
            count_up(queue_.errors, 1);
        } else if (mbuf* packet = make_packet()) {
            packets[count++] = packet;
            result.bytes += packet->pkt_len;
        } else if (queue_.drop_on_empty != 0) {
            queue_.missed.fetch_add(1, std::memory_order_relaxed);  // a count
        } else {
            count_up(queue_.no_buffer, 1);
            break;
        }
        pass_on(result.position);
    }
    if (broken)
        count_up(queue_.errors, 1);
    if (count != 0)
        commit_rx(queue_, port_.index, packets.first(count), result);
    else if (result.position != from)
        skip_rx(queue_, result.position);
    finish(broken ? end_ : result.position);  // a file that has shrunk since its creation ends here
    return count;
}

class pcap_tx {
public:
    explicit pcap_tx(port_layout& port)
        : queue_{port.tx[0]}
        , path_{option_value(port.options.view(), "tx")}
        , mark_{port.driver_words[tx_mark]}
    {
    }

    bool open() noexcept
    {
        return succeeded(writer_.open(path_,
                                      queue_.position.load(std::memory_order_relaxed),  // ours now
                                      mark_));
    }

    std::size_t burst(std::span<mbuf* const> packets) noexcept
    {
        const auto from = queue_.position.load(std::memory_order_relaxed);  // ours alone
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

private:
    bool succeeded(int reason) noexcept
    {
        if (reason != 0) {
            count_up(queue_.errors, 1);
            queue_.last_errno.store(reason, std::memory_order_relaxed);  // for display
        }
        return reason == 0;
    }

    port_queue_layout& queue_;
    std::string path_;
    std::uint64_t mark_;
    detail::capture_writer writer_;
};

class pcap_io final : public port_io {
public:
    explicit pcap_io(port_layout& port) : rx_{port}, tx_{port} {}

    bool open_rx(std::uint16_t, mempool_layout* pool) noexcept override { return rx_.open(pool); }
    bool open_tx(std::uint16_t) noexcept override { return tx_.open(); }
    [[nodiscard]] rx_outlook arm_rx(std::uint16_t) noexcept override { return rx_.outlook(); }
    std::size_t rx_burst(std::uint16_t, std::span<mbuf*> packets) noexcept override
    {
        return rx_.burst(packets);
    }
    std::size_t tx_burst(std::uint16_t, std::span<mbuf* const> packets) noexcept override
    {
        return tx_.burst(packets);
    }

private:
    pcap_rx rx_;
    pcap_tx tx_;
};

/// Members run in other directories, so they need the whole path. Throws for a file that is not
/// there.
std::string resolved(const std::string& path)
{
    std::unique_ptr<char, decltype(&std::free)> whole{::realpath(path.c_str(), nullptr),
                                                      &std::free};
    if (!whole)
        throw error{errc::bad_input,
                    fmt::format("cannot read \"{}\" as a capture: {}; name a pcap or pcapng file",
                                path, describe_errno(errno))};
    return whole.get();
}

class pcap_driver final : public port_driver {
public:
    void create(port_layout& port, const port_request& request, port_host&) const override;
    [[nodiscard]] std::unique_ptr<port_io> open(port_layout& port, port_host&) const override
    {
        return std::make_unique<pcap_io>(port);
    }

private:
    [[nodiscard]] static std::string set_up_rx(port_layout& port, const std::string& path);
};

std::string pcap_driver::set_up_rx(port_layout& port, const std::string& path)
{
    auto whole = resolved(path);
    const auto facts = detail::examine_capture(whole);
    if (facts.truncated)
        log(log_level::warning, "\"{}\" ends inside a record, after {} whole packets", path,
            facts.packets);
    port.rx_queues = 1;
    port.driver_words[rx_link_type] = facts.link_type;
    port.driver_words[rx_snap_length] = facts.snap_length;
    port.driver_words[rx_packets] = facts.packets;
    port.driver_words[rx_truncated] = facts.truncated;
    return whole;
}

void pcap_driver::create(port_layout& port, const port_request& request, port_host&) const
{
    const auto options = request.options;
    check_option_keys("pcap", options, option_keys);
    const auto rx = option_value(options, "rx");
    const auto tx = option_value(options, "tx");
    if (rx.empty() && tx.empty())
        throw error{errc::invalid_argument, "a pcap port needs rx=FILE, tx=FILE or both"};
    constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    port.driver_words[rx_loops] = number_option("pcap", options, "loops", 1, {0, most});

    std::string complete;
    std::string input;
    if (!rx.empty()) {
        input = set_up_rx(port, rx);
        complete +=
            fmt::format("rx={},loops={}", escape_option(input), port.driver_words[rx_loops]);
    }
    if (!tx.empty()) {
        const auto otherwise = rx.empty() ? 1 : port.driver_words[rx_link_type];
        port.driver_words[tx_link_type] =
            number_option("pcap", options, "linktype", otherwise, {0, most});
        const auto file = detail::create_capture(
            tx, static_cast<std::uint32_t>(port.driver_words[tx_link_type]), input);
        port.driver_words[tx_mark] = file.mark;
        port.tx_queues = 1;
        port.tx[0].position.store(file.first_offset,
                                  std::memory_order_relaxed);  // not published yet
        complete += fmt::format("{}tx={}", complete.empty() ? "" : ",", escape_option(file.path));
    }
    if (!decltype(port.options)::fits(complete))
        throw error{
            errc::name_too_long,
            fmt::format("the paths of a pcap port take {} bytes but {} fit; use shorter ones",
                        complete.size(), decltype(port.options)::max_length)};
    port.options = decltype(port.options){complete};
}

}  // namespace

void register_pcap_driver()
{
    register_port_driver("pcap", std::make_unique<pcap_driver>());
}

}  // namespace cohort
