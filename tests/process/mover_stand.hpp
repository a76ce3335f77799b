#pragma once
// The port "wire" at an interface, served by movers that are killed, and numbered frames through it
// in both directions.

#include "cohort/ipc/reports.hpp"
#include "cohort/primary/primary.hpp"
#include "process/living_domain.hpp"
#include "support/numbered_frames.hpp"
#include "support/redelivered.hpp"
#include "support/scratch_network.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace cohort::test {

/// For a whole run of traffic: reached only when something hangs.
inline constexpr std::chrono::seconds long_patience{100};

/// Every buffer is in its pool, or with the kernel.
[[nodiscard]] inline bool is_at_rest(const primary::owner& domain)
{
    const auto report = audit(domain.mapping());
    bool all = report.clean();
    for (const auto& pool : report.pools)
        all = all && pool.free() + pool.at_devices == pool.count;
    return all;
}

/// A primary in this process with the rings and pools of the movers, one at each queue at most.
/// What a dead mover had received comes back through the ring that it was to go to, or came from.
class mover_stand {
public:
    struct options {
        const char* domain;
        std::size_t memory;
        std::uint32_t count;  ///< of buffers in each pool, and of places in each ring
    };
    explicit mover_stand(const options& wanted) : options_{wanted} {}

    /// One that is given a `spec` makes the port first, and then is awaited.
    void spawn(std::size_t queue, const std::string& role, const std::string& spec = {})
    {
        std::vector<std::string> arguments{options_.domain, role, std::to_string(queue)};
        if (!spec.empty())
            arguments.push_back(spec);
        movers_.at(queue).emplace(child_process::spawn("port_mover", arguments));
        if (!spec.empty())
            movers_.at(queue)->await("made", patience);
    }
    void kill(std::size_t queue)
    {
        movers_.at(queue)->kill();
        REQUIRE(movers_.at(queue)->wait(patience));
        movers_.at(queue).reset();
    }
    [[nodiscard]] primary::owner& domain() noexcept { return *domain_; }
    [[nodiscard]] ring<mbuf*>& got() noexcept { return got_; }
    [[nodiscard]] ring<mbuf*>& waiting() noexcept { return waiting_; }
    [[nodiscard]] pktmbuf_pool& outgoing() noexcept { return outgoing_; }
    [[nodiscard]] bool is_at_rest() const { return test::is_at_rest(*domain_); }
    /// Frees what nobody will send any more; returns how many packets that was.
    std::size_t drop_waiting()
    {
        std::size_t dropped = 0;
        for (mbuf* packet = nullptr; waiting_.dequeue(packet); ++dropped)
            free(packet);
        return dropped;
    }
    [[nodiscard]] bool is_empty()
    {
        return incoming_.objects().in_use() == 0 && outgoing_.objects().in_use() == 0;
    }

private:
    options options_;
    scratch_network network_;
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_{primary::start(
        {.name = options_.domain, .memory = options_.memory, .huge = huge_policy::none})};
    ring<mbuf*> got_{domain_->create_ring<mbuf*>("got", options_.count)};
    ring<mbuf*> waiting_{domain_->create_ring<mbuf*>("send", options_.count)};
    pktmbuf_pool incoming_{
        domain_->create_pktmbuf_pool("packets", redelivered_to("got", options_.count))};
    pktmbuf_pool outgoing_{
        domain_->create_pktmbuf_pool("outgoing", redelivered_to("send", options_.count))};
    std::array<std::optional<child_process>, 3> movers_;
};

/// Numbered frames in both directions between the kernel's interface `far` and the port of a stand.
class two_way_traffic {
public:
    struct options {
        std::size_t all;  ///< frames in each direction
        std::size_t
            most_at_once;  ///< on their way in each: fewer than the kernel keeps for a queue
        frame_kind kind = plain_frames;
    };
    two_way_traffic(mover_stand& stand, const char* far, const options& wanted)
        : stand_{stand}
        , most_at_once_{wanted.most_at_once}
        , kind_{wanted.kind}
        , in_all_{wanted.all}
        , out_all_{wanted.all}
        , kernel_{far}
        , in_{wanted.all, wanted.kind}
        , out_{wanted.all, wanted.kind}
    {
    }

    [[nodiscard]] bool step_until(auto reached)
    {
        const auto until = std::chrono::steady_clock::now() + long_patience;
        while (!reached() && std::chrono::steady_clock::now() < until)
            step();
        return reached();
    }
    /// Whoever is at queue 0 is killed `kills` times on the way, and followed by another.
    void kill_on_the_way(std::size_t kills)
    {
        const auto part = in_all_ / (kills + 1);
        for (std::size_t killed = 0; killed != kills; ++killed) {
            REQUIRE(step_until([&] { return progress() >= (killed + 1) * part; }));
            stand_.kill(0);
            stand_.spawn(0, "both");
        }
    }
    /// No frame more than those that are on their way; true when all of them have come.
    [[nodiscard]] bool finish()
    {
        in_all_ = sent_;
        out_all_ = made_;
        return step_until([&] { return is_complete(); });
    }
    [[nodiscard]] bool is_complete() const
    {
        return in_.count() + missed_ >= in_all_ && out_.count() + doubtful() >= out_all_;
    }
    /// What came through at least, of both directions.
    [[nodiscard]] std::size_t progress() const { return std::min(in_.count(), out_.count()); }
    /// A condition: `queue` has moved `more` frames each way than now.
    [[nodiscard]] auto moved(std::uint16_t queue, std::uint64_t more) const
    {
        return [this, queue, rx = wire_.rx_stats(queue).packets + more,
                tx = wire_.tx_stats(queue).packets + more] {
            return wire_.rx_stats(queue).packets >= rx && wire_.tx_stats(queue).packets >= tx;
        };
    }
    /// All have come, once and whole, but for what the port counts: at most so many each way.
    void check(std::size_t most_in_doubt) const
    {
        CHECK(in_.count() + wire_.rx_stats().missed == in_all_);
        CHECK(in_.doubled() == 0);
        CHECK(in_.damaged() == 0);
        CHECK(wire_.rx_stats().missed <= most_in_doubt);
        CHECK(out_.count() + doubtful() >= out_all_);
        CHECK(out_.count() <= made_);
        CHECK(out_.doubled() == 0);
        CHECK(out_.damaged() == 0);
        CHECK(doubtful() <= most_in_doubt);
    }
    /// Where the frames are, for a failed check.
    [[nodiscard]] std::string describe() const
    {
        return fmt::format("in: {} of {} sent, {} missed; out: {} of {} made, {} in doubt; "
                           "{} in \"got\", {} in \"send\"\n{}{}{}",
                           in_.count(), sent_, wire_.rx_stats().missed, out_.count(), made_,
                           doubtful(), stand_.got().count(), stand_.waiting().count(),
                           ipc::list_queues(stand_.domain().region()).as_text(""),
                           ipc::list_members(stand_.domain().region()).as_text(""),
                           ipc::list_audit(audit(stand_.domain().mapping())).as_text(""));
    }
    [[nodiscard]] const port& wire() const noexcept { return wire_; }
    [[nodiscard]] std::size_t sent_to_port() const noexcept { return sent_; }
    [[nodiscard]] std::size_t sent_by_port() const noexcept { return made_; }

private:
    /// A few frames further.
    void step()
    {
        missed_ = wire_.rx_stats().missed;
        for (int i = 0; i != 8 && sent_ < in_all_ && sent_ < in_.count() + missed_ + most_at_once_;
             ++i)
            sent_ += kernel_.send(kind_.make(sent_));
        std::array<mbuf*, 32> burst;
        in_.take(std::span{burst}.first(stand_.got().dequeue_burst(burst)));
        for (int i = 0;
             i != 8 && made_ < out_all_ && made_ < out_.count() + doubtful() + most_at_once_; ++i)
            made_ += enqueue_frame(stand_.outgoing(), stand_.waiting(), kind_.make(made_));
        out_.take(kernel_);
    }
    [[nodiscard]] std::size_t doubtful() const { return wire_.tx_stats().errors; }

    mover_stand& stand_;
    std::size_t most_at_once_;
    frame_kind kind_;
    std::size_t in_all_;
    std::size_t out_all_;
    port wire_{stand_.domain().find_port("wire").value()};
    raw_station kernel_;
    arrivals in_;
    arrivals out_;
    std::size_t sent_ = 0;
    std::size_t made_ = 0;
    std::size_t missed_ = 0;
};

/// What a port of `spec` has made for itself, which `is_there` sees, outlives a primary that is
/// killed and goes with the mover that has the port.
inline void check_gone_with_the_last(const std::string& spec, auto is_there)
{
    const scratch_network network;
    const scratch_runtime_directory directory;
    auto primary = start_cohortd("last");
    {
        const auto shared = secondary::attach("last", patience);
        shared->create_pktmbuf_pool("packets", {.count = 256, .cache_size = 8});
        shared->create_ring<mbuf*>("got", 64);
    }
    auto mover = child_process::spawn("port_mover", {"last", "create", "0", spec});
    mover.await("made", patience);

    primary.kill();
    REQUIRE(primary.wait(patience));
    CHECK(is_there());
    mover.kill();
    REQUIRE(mover.wait(patience));

    CHECK(eventually([&] { return !is_there(); }));
}

}  // namespace cohort::test
