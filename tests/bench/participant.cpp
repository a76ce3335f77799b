#include "participant.hpp"

#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "eal.hpp"
#include "pages.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

namespace cohort::bench {
namespace {

// A block that fills its pages but for the headers of either side.
constexpr std::size_t header_room = 64_KiB;
constexpr std::size_t growth_bytes = 64_MiB;
constexpr std::size_t little_growth_bytes = 4_MiB;  // a usual arena of ours, two pages of theirs

/// A process's place in a domain, of ours or of DPDK.
class participant {
public:
    participant() = default;
    virtual ~participant() = default;
    participant(const participant&) = delete;
    participant& operator=(const participant&) = delete;

    virtual void start(std::size_t megabytes) = 0;
    virtual void attach() = 0;
    /// Makes each page of the domain usable here without a fault.
    virtual void touch() = 0;
    virtual void leave() = 0;

    /// Takes what is free: the next block needs new pages.
    virtual void fill() = 0;
    [[nodiscard]] virtual std::byte* allocate(std::size_t bytes) = 0;
    /// Memory of the domain, in pages that are there.
    [[nodiscard]] virtual std::size_t memory_bytes() = 0;
};

class cohort_participant final : public participant {
public:
    explicit cohort_participant(std::string name) : name_{std::move(name)} {}

    void start(std::size_t megabytes) override
    {
        domain_ = primary::start(
            {.name = name_, .memory = megabytes * 1_MiB, .huge = huge_policy::only_2m});
    }
    void attach() override
    {
        domain_ = secondary::attach(name_, std::chrono::seconds{10}, "bench");
    }
    void touch() override
    {
        read_pages({reinterpret_cast<std::byte*>(pages().base), memory_bytes()});
    }
    void leave() override { domain_.reset(); }
    void fill() override
    {
        static_cast<void>(domain_->heap());
        static_cast<void>(domain_->reserve_memzone("filler", 0));
    }
    std::byte* allocate(std::size_t bytes) override
    {
        return static_cast<std::byte*>(domain_->heap().malloc(bytes));
    }
    std::size_t memory_bytes() override
    {
        return pages().published.load(std::memory_order_relaxed);  // nobody else grows it
    }

private:
    [[nodiscard]] const memseg_list_layout& pages() const
    {
        return domain_->region().memory.lists[0];  // hugepages come first
    }

    std::string name_;
    std::unique_ptr<ipc::joined_domain> domain_;
};

class dpdk_participant final : public participant {
public:
    explicit dpdk_participant(const part& given)
        : options_{.prefix = given.name,
                   .huge_directory = given.huge_directory,
                   .single_file = true}  // not slower than a file for each page, mostly quicker
    {
    }

    void start(std::size_t megabytes) override
    {
        options_.megabytes = megabytes;
        join();
    }
    void attach() override
    {
        options_.as = role::secondary;
        join();
    }
    void touch() override {}  // the EAL has
    void leave() override { eal()->cleanup(); }
    void fill() override {}  // new pages are for the whole block anyway
    std::byte* allocate(std::size_t bytes) override
    {
        return static_cast<std::byte*>(eal()->allocate(nullptr, bytes, 0));
    }
    std::size_t memory_bytes() override { return eal_heap().total; }

    void stay_on(int processor) { options_.processor = processor; }

private:
    void join()
    {
        if (!start_eal(options_))
            throw std::runtime_error{"DPDK is not installed or does not start"};
    }

    eal_options options_;
};

/// Whoever is measured has processor 0, the others stay out of the way.
std::unique_ptr<participant> made_for(const part& given, bool measured)
{
    if (given.side == "dpdk") {
        auto made = std::make_unique<dpdk_participant>(given);
        made->stay_on(measured || std::thread::hardware_concurrency() < 2 ? 0 : 1);
        return made;
    }
    if (measured)
        pin_to(0);  // as DPDK does by itself
    return std::make_unique<cohort_participant>(given.name);
}

void require_memory(participant& self, std::size_t bytes)
{
    if (const auto there = self.memory_bytes(); there < bytes)
        throw std::runtime_error{
            fmt::format("{} MiB of memory are there instead of {}", there / 1_MiB, bytes / 1_MiB)};
}

int start(const part& given)
{
    timing took{.zeroing = zeroing_ms(given.megabytes * 1_MiB)};
    const auto self = made_for(given, true);
    const auto begin = clock::now();
    self->start(given.megabytes);
    const auto started = clock::now();
    self->touch();
    took.touch = milliseconds_since(started);
    took.total = milliseconds_since(begin);
    require_memory(*self, given.megabytes * 1_MiB);
    const auto end = clock::now();
    self->leave();
    took.end = milliseconds_since(end);
    test::say(took.line());
    return 0;
}

int attach(const part& given)
{
    const auto self = made_for(given, true);
    timing took;
    const auto begin = clock::now();
    self->attach();
    const auto attached = clock::now();
    self->touch();
    took.touch = milliseconds_since(attached);
    took.total = milliseconds_since(begin);
    require_memory(*self, given.megabytes * 1_MiB);
    const auto end = clock::now();
    self->leave();
    took.end = milliseconds_since(end);
    test::say(took.line());
    return 0;
}

/// False when the block was refused: `took` says after how long.
bool grow_by(participant& self, std::size_t bytes, timing& took)
{
    const auto before = self.memory_bytes();
    const auto begin = clock::now();
    auto* block = self.allocate(bytes - header_room);
    const auto grown = clock::now();
    if (block)
        write_pages({block, bytes - header_room});
    took.touch = milliseconds_since(grown);
    took.total = milliseconds_since(begin);
    if (block)
        require_memory(self, before + bytes);
    return block;
}

std::string grow_once(participant& self, bool little_first)
{
    timing took;
    self.fill();  // not earlier: members that attach take some memory too
    if (little_first) {
        const double zeroing = zeroing_ms(little_growth_bytes);
        if (!grow_by(self, little_growth_bytes, took))
            throw std::runtime_error{"a growth by 4 MiB was refused"};
        took.little = std::max(took.total - zeroing, 0.0);
    }
    took.zeroing = zeroing_ms(growth_bytes);
    const bool grown = grow_by(self, growth_bytes, took);
    return grown ? took.line() : fmt::format("{} {}", refused, took.line());
}

int be_primary(const part& given)
{
    const auto self = made_for(given, given.act == "grower");
    self->start(given.megabytes);
    self->touch();
    test::say("ready");
    for (auto word = test::hear(); word.starts_with("grow"); word = test::hear())
        test::say(grow_once(*self, word == "grow a little first"));
    self->leave();
    return 0;
}

int be_secondary(const part& given)
{
    const auto self = made_for(given, false);
    self->attach();
    test::say("ready");
    static_cast<void>(test::hear());
    self->leave();
    return 0;
}

}  // namespace

std::vector<std::string> part::words() const
{
    return {side, act, fmt::format("{}", megabytes), name, huge_directory};
}

part part::from(const std::vector<std::string>& words)
{
    if (words.size() != 5)
        throw std::runtime_error{"a part is a side, an act, megabytes, a name and a directory"};
    return {words[0], words[1], std::stoul(words[2]), words[3], words[4]};
}

std::string timing::line() const
{
    return fmt::format("{} {} {} {} {}", zeroing, total, touch, little, end);
}

timing timing::from(const std::string& line)
{
    timing read;
    std::istringstream words{line};
    if (!(words >> read.zeroing >> read.total >> read.touch >> read.little >> read.end))
        throw std::runtime_error{fmt::format("\"{}\" is not a timing", line)};
    return read;
}

int play(const part& given)
{
    if (given.act == "start")
        return start(given);
    if (given.act == "attach")
        return attach(given);
    if (given.act == "primary" || given.act == "grower")
        return be_primary(given);
    if (given.act == "secondary")
        return be_secondary(given);
    throw std::runtime_error{fmt::format("there is no part of a \"{}\"", given.act)};
}

}  // namespace cohort::bench
