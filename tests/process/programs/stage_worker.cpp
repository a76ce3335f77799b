// A worker at the ring in stages "s". Usage: stage_worker DOMAIN NAME
//
//   hold STAGE N     acquires exactly N elements and keeps them
//   release          releases all that it keeps, the latest first
//   claim STAGE      stands inside acquire, as far as the claim of the head
//   let-go STAGE     acquires nothing after all
//   work STAGE       acquires, marks and releases until it is killed
// Each but the last answers "done".

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"
#include "support/stage_item.hpp"

#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace {

using namespace cohort;
using test::stage_item;

class stage_worker {
public:
    explicit stage_worker(domain& shared) : ring_{shared.find_staged_ring<stage_item>("s").value()}
    {
    }

    void obey(const std::string& line)
    {
        std::istringstream words{line};
        std::string verb;
        std::uint32_t stage = 0;
        std::size_t count = 0;
        words >> verb >> stage >> count;
        if (verb == "hold") {
            held_.push_back(ring_.acquire_bulk(stage, count));
            if (held_.back().size() != count)
                throw std::runtime_error{"too few elements"};
            mark(held_.back(), stage);
        } else if (verb == "release") {
            for (; !held_.empty(); held_.pop_back())
                if (!held_.back().release())
                    throw std::runtime_error{"a batch is another's"};
        } else if (verb == "claim") {
            auto& head = stage_of(ring_.layout(), stage).head;
            claimed_ =
                detail::claim(ring_.layout(), head, ring_mode::multi,
                              membership_of(&ring_.layout()), [](std::uint32_t) { return 1u; });
        } else if (verb == "let-go") {
            detail::commit(stage_of(ring_.layout(), stage).head, ring_mode::multi, claimed_, 0);
        } else if (verb == "work") {
            work(stage);
        }
    }

private:
    static void mark(stage_grant<stage_item>& batch, std::uint32_t stage)
    {
        for (std::size_t i = 0; i != batch.size(); ++i)
            ++batch[i].passed.at(stage);
    }

    [[noreturn]] void work(std::uint32_t stage)
    {
        for (std::size_t size = 1;; size = size % 4 + 1) {
            auto first = ring_.acquire_burst(stage, size);
            auto second = ring_.acquire_burst(stage, 2);
            mark(second, stage);
            second.release();
            mark(first, stage);
            if (!first.release())
                std::this_thread::yield();
        }
    }

    staged_ring<stage_item> ring_;
    std::vector<stage_grant<stage_item>> held_;
    detail::ring_claim claimed_{};
};

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return 2;
    try {
        const auto shared = secondary::attach(argv[1], 30s, argv[2]);
        stage_worker self{*shared};
        test::say("ready");
        for (auto line = test::hear(); !line.empty(); line = test::hear()) {
            self.obey(line);
            test::say("done");
        }
        return 0;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "stage_worker: {}\n", failure.what());
        return 1;
    }
}
