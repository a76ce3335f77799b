// One of the stages that numbered packets pass, to be killed at any time.
// Usage: redo_stage primary     makes (or adopts) the domain, and waits
//        redo_stage STAGE       1 to 4
//
//   the test -> "stage1" -> 1 -> "stage2" -> 2 -> "stage3" -> 3 -> "stage4" -> 4 -> "stage5" -> the
//   test
//                 what the dead had received -> "again" -> whichever stage comes first

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "stress/redo_work.hpp"
#include "support/conversation.hpp"
#include "support/redelivered.hpp"

#include <array>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

using namespace cohort;
using namespace cohort::test;

class stage {
public:
    stage(domain& with, std::uint8_t number)
        : number_{number}
        , again_{with.find_ring<mbuf*>("again").value()}
    {
        for (std::uint8_t i = 1; i <= redo_stages + 1; ++i)
            rings_.push_back(with.find_ring<mbuf*>(ring_of_stage(i)).value());
    }

    [[noreturn]] void run()
    {
        for (std::array<mbuf*, 16> burst{};;) {
            bool idle = true;
            for (auto* from : {&rings_[number_ - 1u], &again_}) {
                const auto got = std::span{burst}.first(from->dequeue_burst(burst));
                // Who looks for packets in its hands may have no other processor than this one.
                if (!got.empty())
                    std::this_thread::yield();
                for (auto* packet : got)
                    pass_on(*packet, from == &again_);
                idle = idle && got.empty();
            }
            if (idle)
                std::this_thread::yield();
        }
    }

private:
    /// What the dead had received goes on where its note says.
    void pass_on(mbuf& packet, bool from_the_dead)
    {
        const auto at = from_the_dead ? stage_of_note(packet) : number_;
        work_once(packet, at);
        take_a_while();
        while (!rings_[at].enqueue(&packet))
            std::this_thread::yield();
    }

    /// So that a stage mostly holds packets.
    static void take_a_while()
    {
        const auto until = std::chrono::steady_clock::now() + 2us;
        while (std::chrono::steady_clock::now() < until) {}
    }

    std::uint8_t number_;
    ring<mbuf*> again_;
    std::vector<ring<mbuf*>> rings_;
};

void be_primary()
{
    const auto owner = primary::start(
        {.name = "redo", .member_name = "primary", .memory = 32_MiB, .huge = huge_policy::none});
    if (!owner->adopted()) {
        for (std::uint8_t i = 1; i <= redo_stages + 1; ++i)
            owner->create_ring<mbuf*>(ring_of_stage(i), 2 * redo_packets);
        owner->create_ring<mbuf*>("again", 8);  // so small that the rest waits at the pool
        owner->create_pktmbuf_pool("redo", redelivered_to("again", redo_packets));
    }
    say("ready");
    for (;;)
        ::pause();
}

}  // namespace

int main(int argc, char** argv)
{
    const std::string role = argc == 2 ? argv[1] : "";
    try {
        if (role == "primary")
            be_primary();
        const auto member = secondary::attach("redo", 10s, role);
        stage at{*member, static_cast<std::uint8_t>(std::stoi(role))};
        say("ready");
        at.run();
    } catch (const error& refused) {
        say(std::string{"failed: "} + refused.what());
        return refused.exit_code();
    }
}
