#include "action_player.hpp"

#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "pages.hpp"
#include "support/conversation.hpp"

#include <algorithm>
#include <atomic>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

namespace cohort::bench {
namespace {

constexpr auto action_name = "bench";
constexpr auto patience = 10s;

class cohort_member final : public channel_member {
public:
    explicit cohort_member(const action_part& given)
    {
        if (given.role == "secondary") {
            domain_ = secondary::attach(given.name, patience);
            return;
        }
        auto owner =
            primary::start({.name = given.name,
                            .member_name = "primary",
                            .memory = 8_MiB,
                            .huge = huge_policy::none,
                            .dispatch = given.role == "poller" ? ipc::dispatching::by_caller
                                                               : ipc::dispatching::own_thread});
        if (!owner->adopted())
            for (const auto* name : {"there", "back"})
                owner->create_ring<std::uint64_t>(name, 64);
        domain_ = std::move(owner);
    }

    void offer() override
    {
        domain_->actions().on(action_name,
                              [](ipc::message& asked) { asked.reply(asked.payload()); });
    }
    void ask(const action_payload& payload) override
    {
        const auto answer = domain_->actions().request(ipc::target::group::primary, action_name,
                                                       {payload.data(), payload.size()}, patience);
        if (answer.what != ipc::verdict::replied || answer.payload.size() != payload.size())
            throw std::runtime_error{"our primary does not answer"};
    }
    void ask_all(std::size_t answers, std::chrono::milliseconds time) override
    {
        std::vector<ipc::async_request> asked;
        domain_->members().members().for_each_member(
            [&](member_id id, member_layout&, member_word word) {
                const member_ref peer{id, word.generation};
                if (!(peer == domain_->self()))
                    asked.push_back(domain_->actions().request_async(peer, action_name, "8 bytes.",
                                                                     {.timeout = time}));
            });
        const auto until = clock::now() + time;
        const auto done = [](const ipc::async_request& each) { return each.is_done(); };
        while (static_cast<std::size_t>(std::ranges::count_if(asked, done)) < answers)
            if (clock::now() > until)
                throw std::runtime_error{"a member of ours does not answer in time"};
    }

    ipc::joined_domain& domain() noexcept { return *domain_; }

private:
    std::unique_ptr<ipc::joined_domain> domain_;
};

/// Does that again and again until a line comes.
void until_a_line(const std::function<void()>& again)
{
    std::atomic<bool> stop{false};
    std::thread listener{[&] {
        static_cast<void>(test::hear());
        stop = true;
    }};
    while (!stop.load(std::memory_order_relaxed))
        again();
    listener.join();
}

std::string ask(channel_member& self, std::size_t count, std::chrono::microseconds pause)
{
    std::vector<double> took;
    for (std::size_t i = 0; i != count; ++i) {
        if (pause.count() != 0)
            std::this_thread::sleep_for(pause);
        const auto start = clock::now();
        self.ask({'8', 'b', 'y', 't', 'e', 's', '.', 0});
        took.push_back(microseconds_since(start));
    }
    std::ranges::sort(took);
    return fmt::format("{} {}", took[count / 2], took[count * 99 / 100]);
}

std::string ask_all(channel_member& self, std::size_t answers, std::chrono::milliseconds time)
{
    const auto start = clock::now();
    self.ask_all(answers, time);
    return fmt::format("{}", microseconds_since(start));
}

void echo(domain& with)
{
    auto there = with.find_ring<std::uint64_t>("there").value();
    auto back = with.find_ring<std::uint64_t>("back").value();
    until_a_line([&] {
        std::uint64_t value = 0;
        if (there.dequeue(value))
            static_cast<void>(back.enqueue(value));
        else
            std::this_thread::yield();
    });
}

double watch(domain& with)
{
    auto there = with.find_ring<std::uint64_t>("there").value();
    auto back = with.find_ring<std::uint64_t>("back").value();
    double longest = 0;
    auto last = clock::now();
    static_cast<void>(there.enqueue(1));
    until_a_line([&] {
        std::uint64_t value = 0;
        if (!back.dequeue(value)) {
            std::this_thread::yield();
            return;
        }
        longest = std::max(longest, microseconds_since(last));
        last = clock::now();
        static_cast<void>(there.enqueue(value + 1));
    });
    return std::max(longest, microseconds_since(last));  // what has not come counts, too
}

double attach_ms(const std::string& name)
{
    const auto start = clock::now();
    const auto joined = secondary::attach(name, patience);
    return milliseconds_since(start);
}

void obey(channel_member& self, const std::string& line)
{
    std::istringstream words{line};
    std::string verb;
    std::size_t first = 0;
    std::size_t second = 0;
    words >> verb >> first >> second;
    auto* const ours = dynamic_cast<cohort_member*>(&self);
    if (verb == "answer") {
        self.offer();
        test::say("done");
    } else if (verb == "ask") {
        test::say(ask(self, first, std::chrono::microseconds{second}));
    } else if (verb == "ask-all") {
        test::say(ask_all(self, first, std::chrono::milliseconds{second}));
    } else if (verb == "echo" && ours) {
        test::say("done");
        echo(ours->domain());
    } else if (verb == "watch" && ours) {
        test::say("done");
        test::say(fmt::format("{}", watch(ours->domain())));
    } else {
        throw std::runtime_error{fmt::format("\"{}\" is nothing to do", line)};
    }
}

/// Attaches to that domain, and leaves, at each line.
int visit(const std::string& name)
{
    test::say("ready");
    while (!test::hear().empty())
        test::say(fmt::format("{}", attach_ms(name)));
    return 0;
}

}  // namespace

std::vector<std::string> action_part::words() const
{
    return {side, role, name, huge_directory, fmt::format("{}", processor)};
}

action_part action_part::from(const std::vector<std::string>& words)
{
    if (words.size() != 5)
        throw std::runtime_error{"a part is a side, a role, a name, a directory and a processor"};
    return {words[0], words[1], words[2], words[3], std::stoi(words[4])};
}

int play_action(const action_part& given)
{
    if (given.role == "visitor")
        return visit(given.name);
    const auto self =
        given.side == "dpdk" ? dpdk_channel(given) : std::make_unique<cohort_member>(given);
    if (!self)
        throw std::runtime_error{"built without DPDK"};
    if (given.side != "dpdk" && given.processor != any_processor)
        pin_to(given.processor);  // as the EAL does: this thread; those that serve may choose
    test::say("ready");
    if (given.role == "poller") {
        self->offer();
        auto& domain = static_cast<cohort_member&>(*self).domain();
        until_a_line([&] { domain.poll(ipc::polling::busy); });
        return 0;
    }
    for (auto line = test::hear(); !line.empty() && line != "end"; line = test::hear())
        obey(*self, line);
    return 0;
}

}  // namespace cohort::bench
