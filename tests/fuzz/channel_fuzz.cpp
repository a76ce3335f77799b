// Any bytes from a peer: over a member's socket, as a client of DPDK's telemetry, or in a message
// in the region. The member drops or answers them, and still answers a sound request afterwards.
//
// The first input byte chooses the way, the rest is what comes.

#include "cohort/base/log.hpp"
#include "cohort/ipc/message.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/telemetry.hpp"
#include "cohort/primary/primary.hpp"
#include "support/scratch_directory.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>

#include <nlohmann/json.hpp>

namespace {

using namespace cohort;

void require(bool holds)
{
    if (!holds)
        std::abort();
}

/// One member, served by the fuzzer's own thread.
class fuzzed_member {
public:
    fuzzed_member()
    {
        domain_->actions().on("ping", [](ipc::message& received) { received.reply("pong"); });
    }

    void over_socket(std::span<const std::byte> bytes, const std::string& path)
    {
        const auto connection = ipc::connect_to(path, deadline_in(10s));
        domain_->poll();
        static_cast<void>(ipc::send_message(connection.get(), bytes));
        domain_->poll();
    }

    /// Over a sound message. Descriptors are left out: such a message waits for them.
    void in_message(std::span<const std::byte> bytes)
    {
        auto* message = static_cast<ipc::message_layout*>(pool_.get());
        require(message != nullptr);
        const auto self = domain_->self();
        *message = {.from_generation = self.generation,
                    .to_generation = self.generation,
                    .from = self.id,
                    .to = self.id,
                    .kind = ipc::message_kind::request,
                    .action = fixed_name<64>{"ping"}};
        std::memcpy(static_cast<void*>(message), bytes.data(),
                    std::min(bytes.size(), std::size_t{1024}));
        message->fd_count = 0;
        require(inbox_.enqueue(message));
        domain_->poll();
    }

    void as_query(std::span<const std::byte> bytes)
    {
        const auto given = ipc::telemetry_answer(
            domain_->queries(), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        require(nlohmann::json::accept(given) && given.size() <= ipc::max_telemetry_bytes);
    }

    void check()
    {
        const auto given = domain_->actions().request(ipc::target::group::primary, "ping", "", 10s);
        require(given.text() == "pong");
        require(pool_.available() == pool_.count());
    }
    [[nodiscard]] std::string socket() const
    {
        return domain_->place().member_socket(domain_->self().id);
    }
    [[nodiscard]] static std::string telemetry() { return ipc::telemetry_path("fuzzed"); }

private:
    test::scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_ =
        primary::start({.name = "fuzzed",
                        .memory = 16_MiB,
                        .huge = huge_policy::none,
                        .dispatch = ipc::dispatching::by_caller,
                        .dpdk_telemetry = true});
    mempool pool_ = domain_->find_mempool("cohort.messages").value();
    ring<ipc::message_layout*> inbox_ =
        domain_
            ->find_ring<ipc::message_layout*>("cohort.inbox." + std::to_string(domain_->self().id))
            .value();
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static fuzzed_member member;
    set_log_level(log_level::off);
    if (size == 0)
        return 0;
    const auto bytes = std::as_bytes(std::span{data + 1, size - 1});
    switch (data[0] % 4) {
    case 0: member.over_socket(bytes, member.socket()); break;
    case 1: member.over_socket(bytes, fuzzed_member::telemetry()); break;
    case 2: member.in_message(bytes); break;
    default: member.as_query(bytes); break;
    }
    member.check();
    return 0;
}
