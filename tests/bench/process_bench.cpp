// Start, attach and growth beside DPDK: 2 MiB pages on both sides, each round in new processes.
//
// Most of a start and of a growth is the kernel's zeroing of pages, which nobody can beat. So the
// process that is measured first times the bare zeroing of as many pages, and rows named "beyond
// zeroing" compare what is left:
//
//   theirs   total - zeroing, or 0 if that is negative
//   ours     the same, but never less than the same call with next to no memory (a start with one
//            page, a growth by two) beyond its own zeroing, plus the touching of all pages
//
// Ours is so near to bare zeroing that the difference alone would be noise of either sign. The
// floor is our fixed cost where there is hardly any zeroing to be wrong about; theirs gets none.
//
// Until each page can be used: DPDK maps and touches all pages when it starts, attaches and grows.
// We do not, so ours are touched within the measured time.

#include "process_bench.hpp"

#include "answer.hpp"
#include "pages.hpp"
#include "participant.hpp"
#include "support/child_process.hpp"
#include "support/stopped.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::bench {
namespace {

using test::child_process;

/// One side, and what its processes need to find each other.
class side {
public:
    explicit side(const std::string& name)
        : name_{name}
        , mount_{fmt::format("cohort_bench_{}_{}", name, ::getpid())}
    {
    }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] child_process spawn(const std::string& act, std::size_t megabytes) const
    {
        const part role{name_, act, megabytes, mount_.prefix(), mount_.path()};
        std::vector<std::string> words{"--part"};
        std::ranges::copy(role.words(), std::back_inserter(words));
        return child_process::spawn("cohort_bench", words);
    }
    /// Removes what a round has left, outside of what is measured.
    void wipe() const { mount_.wipe(); }

private:
    std::string name_;
    hugetlbfs mount_;
};

void end(child_process& child)
{
    child.tell("end");
    static_cast<void>(child.wait(patience));
}

double beyond_zeroing(const timing& took)
{
    return std::max(took.total - took.zeroing, 0.0);
}

timing one_start(const side& from, std::size_t megabytes)
{
    auto child = from.spawn("start", megabytes);
    const auto took = timing::from(answer_of(child, from.name() + " start"));
    end(child);
    from.wipe();
    return took;
}

timing start(const side& from)
{
    auto took = one_start(from, process_megabytes);
    if (from.name() == "ours")
        took.little = beyond_zeroing(one_start(from, 2));
    return took;
}

timing attach(const side& to)
{
    auto primary = to.spawn("primary", process_megabytes);
    primary.await("ready", patience);
    auto newcomer = to.spawn("attach", process_megabytes);
    const auto took = timing::from(answer_of(newcomer, to.name() + " attach"));
    end(newcomer);
    end(primary);
    to.wipe();
    return took;
}

/// Three members, the first of which grows the domain.
class trio {
public:
    explicit trio(const side& from) : from_{from}
    {
        first_ = joined("grower");
        second_ = joined("secondary");
        third_ = joined("secondary");
    }
    ~trio()
    {
        third_.reset();
        second_.reset();
        first_.reset();
        from_.wipe();
    }
    trio(const trio&) = delete;
    trio& operator=(const trio&) = delete;

    [[nodiscard]] timing grow()
    {
        const auto line = ask("grow a little first");
        if (line.starts_with(refused))
            throw std::runtime_error{from_.name() + " did not grow"};
        return timing::from(line);
    }
    /// Until the answer, which with DPDK is a refusal.
    [[nodiscard]] timing grow_beside_stopped()
    {
        stop(*third_);
        auto line = ask("grow");
        if (line.starts_with(refused)) {
            if (from_.name() == "ours")
                throw std::runtime_error{"a stopped member kept ours from growing"};
            line.erase(0, std::string_view{refused}.size());
        }
        return timing::from(line);
    }

private:
    [[nodiscard]] std::unique_ptr<child_process> joined(const std::string& act) const
    {
        auto made = std::make_unique<child_process>(from_.spawn(act, act == "grower" ? 2 : 0));
        made->await("ready", patience);
        return made;
    }
    [[nodiscard]] std::string ask(const std::string& wish)
    {
        first_->tell(wish);
        return answer_of(*first_, from_.name() + " growth");
    }

    const side& from_;
    std::unique_ptr<child_process> first_;
    std::unique_ptr<child_process> second_;
    std::unique_ptr<child_process> third_;
};

timing grow(const side& from)
{
    return trio{from}.grow();
}

timing grow_beside_stopped(const side& from)
{
    return trio{from}.grow_beside_stopped();
}

double total(const timing& took)
{
    return took.total;
}

double zeroing(const timing& took)
{
    return took.zeroing;
}

double end_of(const timing& took)
{
    return took.end;
}

double total_and_end(const timing& took)
{
    return took.total + took.end;
}

double ours_beyond_zeroing(const timing& took)
{
    return std::max(took.total - took.zeroing, took.little + took.touch);
}

using value_of = double (*)(const timing&);

/// The rounds of one side: taken by the row that is measured first, read again by the others.
class series {
public:
    series(std::shared_ptr<const side> from, timing (*take)(const side&))
        : from_{std::move(from)}
        , take_{take}
    {
    }

    [[nodiscard]] const timing& at(std::size_t round)
    {
        while (round >= taken_.size())
            taken_.push_back(take_(*from_));
        return taken_[round];
    }

private:
    std::shared_ptr<const side> from_;
    timing (*take_)(const side&);
    std::vector<timing> taken_;
};

round_of reading(const std::shared_ptr<series>& rounds, value_of value)
{
    return [rounds, value, next = std::size_t{0}]() mutable { return value(rounds->at(next++)); };
}

/// Both sides' series of one kind.
struct pair_of_series {
    std::shared_ptr<series> ours;
    std::shared_ptr<series> dpdk;  ///< nothing without DPDK

    [[nodiscard]] measurement row(std::string name, value_of mine, value_of theirs,
                                  std::optional<double> target = {}) const
    {
        measurement made{.name = std::move(name), .unit = "ms", .pages = "2M"};
        made.ours = reading(ours, mine);
        if (dpdk || target)
            made.peers.push_back({"dpdk", dpdk ? reading(dpdk, theirs) : round_of{}, target});
        return made;
    }
};

/// DPDK's side, if a primary starts.
std::shared_ptr<const side> dpdk_side()
{
    auto made = std::make_shared<const side>("dpdk");
    try {
        static_cast<void>(one_start(*made, 2));
    } catch (const std::runtime_error&) {
        fmt::print(stderr, "DPDK does not start; start, attach and growth have no peer\n");
        return nullptr;
    }
    return made;
}

}  // namespace

std::vector<measurement> process_measurements()
{
    const auto ours = std::make_shared<const side>("ours");
    const auto dpdk = dpdk_side();
    const auto both = [&](timing (*take)(const side&)) {
        return pair_of_series{std::make_shared<series>(ours, take),
                              dpdk ? std::make_shared<series>(dpdk, take) : nullptr};
    };
    const auto starts = both(start);
    const auto attaches = both(attach);
    const auto growths = both(grow);

    std::vector<measurement> rows{
        starts.row("start, 512 MiB", total, total),
        starts.row("start, beyond zeroing", ours_beyond_zeroing, beyond_zeroing, 5),
        starts.row("kernel zeroing, 512 MiB", zeroing, zeroing),
        starts.row("end of a primary, 512 MiB", end_of, end_of),
        attaches.row("attach, 512 MiB", total, total, 20),
        attaches.row("attach and leave, 512 MiB", total_and_end, total_and_end, 20),
        growths.row("growth by 64 MiB, 3 members", total, total, 1.2),
        growths.row("growth, beyond zeroing", ours_beyond_zeroing, beyond_zeroing, 5),
        growths.row("kernel zeroing, 64 MiB", zeroing, zeroing),
        both(grow_beside_stopped).row("growth, one member stopped", total, total, 1.2),
    };
    rows.back().most_rounds = 3;  // DPDK takes ten seconds for each, to refuse
    return rows;
}

}  // namespace cohort::bench
