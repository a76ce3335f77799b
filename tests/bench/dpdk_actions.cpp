// rte_mp: the action channel of DPDK.

#include "action_player.hpp"
#include "eal.hpp"

#include <cstring>
#include <stdexcept>

#ifdef COHORT_BENCH_DPDK

#include <cstdlib>

#include <fmt/format.h>

#include <rte_eal.h>

namespace cohort::bench {
namespace {

constexpr auto action_name = "bench";

rte_mp_msg message_of(const void* payload, std::size_t bytes)
{
    rte_mp_msg made{};
    std::strcpy(made.name, action_name);
    made.len_param = static_cast<int>(bytes);
    std::memcpy(made.param, payload, bytes);
    return made;
}

int answer(const rte_mp_msg* asked, const void* peer)
{
    auto reply = message_of(asked->param, static_cast<std::size_t>(asked->len_param));
    return rte_mp_reply(&reply, static_cast<const char*>(peer));
}

/// How many have answered in time.
int request(const action_payload& payload, timespec time)
{
    auto asked = message_of(payload.data(), payload.size());
    struct rte_mp_reply answers {};
    static_cast<void>(rte_mp_request_sync(&asked, &answers, &time));
    std::free(answers.msgs);
    return answers.nb_received;
}

class dpdk_member final : public channel_member {
public:
    explicit dpdk_member(const action_part& given)
    {
        if (!start_eal({.as = given.role == "secondary" ? role::secondary : role::primary,
                        .prefix = given.name,
                        .processor = given.processor,
                        .megabytes = 2,
                        .huge_directory = given.huge_directory}))
            throw std::runtime_error{"DPDK does not start"};
    }
    ~dpdk_member() override { eal()->cleanup(); }

    void offer() override
    {
        if (rte_mp_action_register(action_name, answer) != 0)
            throw std::runtime_error{"rte_mp_action_register refuses"};
    }
    void ask(const action_payload& payload) override
    {
        if (request(payload, {.tv_sec = 10, .tv_nsec = 0}) != 1)
            throw std::runtime_error{"DPDK's primary does not answer"};
    }
    void ask_all(std::size_t answers, std::chrono::milliseconds time) override
    {
        const auto got = request({}, {.tv_sec = 0, .tv_nsec = time.count() * 1'000'000});
        // When one does not answer in time, it drops the answers of the others.
        if (got != 0 && static_cast<std::size_t>(got) != answers)
            throw std::runtime_error{
                fmt::format("{} of DPDK's secondaries answer instead of {}", got, answers)};
    }
};

}  // namespace

std::unique_ptr<channel_member> dpdk_channel(const action_part& given)
{
    return std::make_unique<dpdk_member>(given);
}

}  // namespace cohort::bench

#else

namespace cohort::bench {

std::unique_ptr<channel_member> dpdk_channel(const action_part&)
{
    return nullptr;
}

}  // namespace cohort::bench

#endif
