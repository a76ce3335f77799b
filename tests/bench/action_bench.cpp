#include "action_bench.hpp"

#include "action_player.hpp"
#include "answer.hpp"
#include "cohort/primary/primary.hpp"
#include "pages.hpp"
#include "support/child_process.hpp"
#include "support/stopped.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include <emmintrin.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cohort::bench {
namespace {

using test::child_process;

constexpr std::size_t members = 8;

double number_of(child_process& child, const std::string& order)
{
    child.tell(order);
    return std::stod(answer_of(child, "a process of an action measurement"));
}

/// One side of the measurements: where its processes meet.
class meeting {
public:
    meeting(std::string side, const std::string& name)
        : side_{std::move(side)}
        , mount_{fmt::format("cohort_bench_{}_{}", name, ::getpid())}
    {
    }

    [[nodiscard]] child_process join(const std::string& role, int processor) const
    {
        const action_part part{side_, role, mount_.prefix(), mount_.path(), processor};
        std::vector<std::string> words{"--action"};
        std::ranges::copy(part.words(), std::back_inserter(words));
        auto child = child_process::spawn("cohort_bench", words);
        child.await("ready", patience);
        return child;
    }
    [[nodiscard]] const std::string& name() const noexcept { return mount_.prefix(); }

private:
    std::string side_;
    hugetlbfs mount_;
};

/// Who asks a primary, and that primary.
class couple {
public:
    couple(const std::string& side, const std::string& role)
        : place_{side, fmt::format("{}_{}", side, role)}
        , primary_{place_.join(role, 1)}
        , asker_{place_.join("secondary", 0)}
    {
        if (role == "poller")
            return;
        primary_.tell("answer");
        primary_.await("done", patience);
    }

    /// Microseconds that half of the requests took at most, and 99 %.
    [[nodiscard]] std::pair<double, double> ask(std::size_t count, std::size_t pause_us)
    {
        asker_.tell(fmt::format("ask {} {}", count, pause_us));
        std::istringstream words{answer_of(asker_, "who asks")};
        std::pair<double, double> read;
        if (!(words >> read.first >> read.second))
            throw std::runtime_error{"a request was not answered"};
        return read;
    }

private:
    meeting place_;
    child_process primary_;
    child_process asker_;
};

/// A primary that asks eight secondaries.
class crowd {
public:
    explicit crowd(const std::string& side)
        : place_{side, side + "_crowd"}
        , primary_{place_.join("primary", 0)}
    {
        for (std::size_t i = 0; i != members; ++i) {
            answerers_.push_back(place_.join("secondary", 1));
            answerers_.back().tell("answer");
            answerers_.back().await("done", patience);
        }
    }

    [[nodiscard]] double ask_all()
    {
        static_cast<void>(number_of(primary_, order(members)));  // all are awake, as below
        return number_of(primary_, order(members));
    }
    /// Until the answers of the others.
    [[nodiscard]] double ask_all_but_one_stopped()
    {
        static_cast<void>(number_of(primary_, order(members)));
        test::stop(answerers_.back());
        const auto took = number_of(primary_, order(members - 1));
        answerers_.back().kill(SIGCONT);
        std::this_thread::sleep_for(10ms);  // it answers what has come meanwhile
        return took;
    }

private:
    static std::string order(std::size_t answers) { return fmt::format("ask-all {} 100", answers); }

    meeting place_;
    child_process primary_;
    std::vector<child_process> answerers_;
};

/// Two members that send to and fro while their primary is killed and another comes.
class bereaved {
public:
    bereaved()
        : place_{"ours", "bereaved"}
        , primary_{place_.join("primary", any_processor)}
        , echo_{place_.join("secondary", any_processor)}
        , watch_{place_.join("secondary", any_processor)}
    {
        echo_.tell("echo");
        echo_.await("done", patience);
    }

    struct outcome {
        double adoption_ms = 0;
        double gap_ms = 0;
    };
    [[nodiscard]] outcome kill_the_primary()
    {
        watch_.tell("watch");
        watch_.await("done", patience);
        std::this_thread::sleep_for(20ms);
        outcome seen;
        const auto start = clock::now();
        primary_->kill();
        auto next = place_.join("primary", any_processor);
        seen.adoption_ms = last_ms_ = milliseconds_since(start);
        static_cast<void>(primary_->wait(patience));
        primary_.emplace(std::move(next));
        seen.gap_ms = number_of(watch_, "tell") / 1e3;
        return seen;
    }
    /// The same for as long without a death: what the scheduler does by itself.
    [[nodiscard]] double gap_in_peace_ms()
    {
        watch_.tell("watch");
        watch_.await("done", patience);
        std::this_thread::sleep_for(20ms + std::chrono::duration<double, std::milli>{last_ms_});
        return number_of(watch_, "tell") / 1e3;
    }

private:
    meeting place_;
    std::optional<child_process> primary_;
    child_process echo_;
    child_process watch_;
    double last_ms_ = 0;  // of the last adoption
};

/// Half of the round trips of one word between two processes took so many microseconds at most.
double cache_line_round_trip()
{
    constexpr std::uint32_t trips = 20'000;
    auto* const place =
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        throw std::runtime_error{"no page for the round trip of a cache line"};
    auto& word = *new (place) std::atomic<std::uint32_t>{0};
    const auto child = ::fork();
    if (child == 0) {
        pin_to(1);
        for (std::uint32_t i = 0; i != trips; ++i) {
            while (word.load(std::memory_order_acquire) != 2 * i + 1)
                _mm_pause();
            word.store(2 * i + 2, std::memory_order_release);
        }
        ::_exit(0);
    }
    const pinned here{0};
    std::vector<double> took;
    for (std::uint32_t i = 0; i != trips; ++i) {
        const auto start = clock::now();
        word.store(2 * i + 1, std::memory_order_release);
        while (word.load(std::memory_order_acquire) != 2 * i + 2)
            _mm_pause();
        took.push_back(microseconds_since(start));
    }
    static_cast<void>(::waitpid(child, nullptr, 0));
    ::munmap(place, 4096);
    std::ranges::sort(took);
    return took[trips / 2];
}

/// Made when it is first used.
template <typename T>
class later {
public:
    template <typename... Arguments>
    T& get(const Arguments&... arguments)
    {
        if (!made_)
            made_.emplace(arguments...);
        return *made_;
    }
    void end() { made_.reset(); }

private:
    std::optional<T> made_;
};

/// A domain with that much memory, and a process that attaches to it.
class attachable {
public:
    explicit attachable(std::size_t megabytes)
        : place_{"ours", fmt::format("attach_{}", megabytes)}
        , owner_{primary::start(
              {.name = place_.name(), .memory = megabytes * 1_MiB, .huge = huge_policy::none})}
        , visitor_{place_.join("visitor", any_processor)}
    {
    }
    [[nodiscard]] double attach_ms() { return number_of(visitor_, "attach"); }

private:
    meeting place_;
    std::unique_ptr<primary::owner> owner_;
    child_process visitor_;
};

bool dpdk_starts()
{
    try {
        const meeting place{"dpdk", "action_probe"};
        place.join("primary", 0).tell("end");
        return true;
    } catch (const std::exception& failure) {
        fmt::print(stderr, "DPDK does not start; requests have no peer: {}\n", failure.what());
        return false;
    }
}

}  // namespace

struct action_stage::cast {
    bool has_dpdk = dpdk_starts();
    later<couple> ours;
    later<couple> polled;
    later<couple> dpdk;
    later<crowd> our_crowd;
    later<crowd> dpdk_crowd;
    later<bereaved> orphans;
    later<attachable> small;
    later<attachable> medium;
    later<attachable> large;

    // There are five windows for domains that live at once.
    void end_requests()
    {
        for (auto* each : {&ours, &polled, &dpdk})
            each->end();
        for (auto* each : {&our_crowd, &dpdk_crowd})
            each->end();
    }

    couple& our_couple() { return ours.get("ours", "primary"); }
    couple& our_polled_couple() { return polled.get("ours", "poller"); }
    couple& dpdk_couple() { return dpdk.get("dpdk", "primary"); }

    void beside_dpdk(measurement& row, round_of theirs, std::optional<double> target) const
    {
        if (has_dpdk)
            row.peers.push_back({"dpdk", std::move(theirs), target});
        else if (target)
            row.peers.push_back({"dpdk", {}, target});
    }
    [[nodiscard]] measurement asleep(const std::string& word,
                                     double std::pair<double, double>::*which)
    {
        measurement row{.name = "action, 8 B to a sleeper, " + word, .unit = "us"};
        row.ours = [this, which] { return our_couple().ask(200, 1000).*which; };
        beside_dpdk(
            row, [this, which] { return dpdk_couple().ask(200, 1000).*which; }, 2);
        return row;
    }
    [[nodiscard]] measurement awake()
    {
        measurement row{.name = "action, 8 B to one that polls, p50", .unit = "us"};
        row.ours = [this] { return our_polled_couple().ask(20'000, 0).first; };
        beside_dpdk(
            row, [this] { return dpdk_couple().ask(200, 0).first; }, 20);
        row.peers.push_back({"cache line", cache_line_round_trip, 0.25});
        return row;
    }
    [[nodiscard]] measurement to_eight()
    {
        measurement row{.name = "action, to 8, one stopped: 7 answers", .unit = "us"};
        row.ours = [this] { return our_crowd.get("ours").ask_all_but_one_stopped(); };
        row.peers.push_back({"none stopped", [this] { return our_crowd.get("ours").ask_all(); }});
        beside_dpdk(row, [this] { return dpdk_crowd.get("dpdk").ask_all_but_one_stopped(); }, {});
        return row;
    }
    [[nodiscard]] measurement flat(const std::string& size, std::size_t megabytes,
                                   later<attachable>& larger)
    {
        measurement row{.name = "action, attach to " + size + " of segments", .unit = "ms"};
        row.pages = "4K";
        row.ours = [this, &larger, megabytes] {
            end_requests();
            return larger.get(megabytes).attach_ms();
        };
        row.peers.push_back({"64 MiB", [this] { return small.get(64u).attach_ms(); }, 0.8});
        return row;
    }
};

action_stage::action_stage() : cast_{std::make_unique<cast>()}
{
}
action_stage::~action_stage() = default;

std::vector<measurement> action_stage::measurements()
{
    auto& stage = *cast_;
    std::vector<measurement> rows{
        stage.asleep("p50", &std::pair<double, double>::first),
        stage.asleep("p99", &std::pair<double, double>::second),
        stage.awake(),
        stage.to_eight(),
        stage.flat("1 GiB", 1024, stage.medium),
    };
    if (available_bytes(page_size::small) > 18_GiB)
        rows.push_back(stage.flat("16 GiB", 16 * 1024, stage.large));
    else
        fmt::print(stderr, "action: attaching to 16 GiB is left out: it needs 18 GiB of memory\n");
    rows.push_back({.name = "action, death of the primary to the next", .unit = "ms"});
    rows.back().ours = [&stage] { return stage.orphans.get().kill_the_primary().adoption_ms; };
    rows.back().limit = 100;
    rows.push_back({.name = "action, longest gap of a data path meanwhile", .unit = "ms"});
    rows.back().ours = [&stage] { return stage.orphans.get().kill_the_primary().gap_ms; };
    rows.back().peers.push_back(
        {"in peace", [&stage] { return stage.orphans.get().gap_in_peace_ms(); }});
    rows.back().limit = 10;
    return rows;
}

}  // namespace cohort::bench
