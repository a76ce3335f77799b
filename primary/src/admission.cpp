#include "cohort/primary/admission.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/dispatcher.hpp"
#include "cohort/ipc/socket.hpp"

#include <fstream>
#include <string>
#include <thread>

#include <fmt/format.h>

namespace cohort::primary {
namespace {

/// The process a pidfd stands for, in this PID namespace; 0 when it is no pidfd or not visible.
int pid_of(const file_descriptor& pidfd)
{
    std::ifstream info{fmt::format("/proc/self/fdinfo/{}", pidfd.get())};
    std::string key;
    int pid = 0;
    while (info >> key)
        if (key == "Pid:" && info >> pid)
            return pid;
    return 0;
}

}  // namespace

bool admission::on_message(ipc::dispatcher& loop, int connection, std::span<const std::byte> bytes,
                           std::vector<file_descriptor> fds)
{
    namespace wire = ipc::wire;
    const auto* wish = wire::as<wire::attach_request>(bytes, wire::kind::attach_request);
    if (wish && wish->as == wire::attach_as::successor && wish->layout_hash == layout_hash())
        return begin_hand_over(connection);
    if (connection == successor_ && !wish)
        return on_successor(connection, bytes);
    if (wish && wish->as == wire::attach_as::member && wish->layout_hash == layout_hash()) {
        if (refuse_newcomer(connection))
            return false;
        if (fds.size() != 2 || pid_of(fds[0]) != ipc::peer_of(connection).pid)
            return refuse(connection, errc::invalid_argument,
                          "the newcomer did not send a pidfd of itself and an eventfd");
        applicants_[connection] = {std::move(fds[0]), std::move(fds[1])};
        const bool sent = send_region(connection, map_access::read_write);
        COHORT_FAULT_POINT("admission.answered");
        return sent;
    }
    // What an adopting primary hears of one member it passes on to the others.
    if (const auto* news = wire::as<wire::member_message>(bytes, wire::kind::peer);
        news && fds.size() == 2 && members_.contains(connection) && stage_ != stage::gone)
        introduce(news->ref(), fds[0].get(), fds[1].get(), connection);
    if (wire::as<wire::member_message>(bytes, wire::kind::adopt) && stage_ != stage::letting_go)
        return false;  // this primary lives
    const auto* joined = wire::as<wire::member_message>(bytes, wire::kind::joined);
    if (!joined)
        return member_service::on_message(loop, connection, bytes, std::move(fds));
    const auto newcomer = joined->ref();
    if (!applicants_.contains(connection) || newcomer.id == 0 || newcomer.id >= max_members ||
        !shared().members().members().is_live(newcomer))
        return false;
    return !refuse_newcomer(connection) && welcome(loop, connection, newcomer);
}

bool admission::refuse_newcomer(int connection)
{
    const bool handing_over = stage_ == stage::letting_go || stage_ == stage::gone;
    if (handing_over)
        refuse(connection, errc::in_use,
               fmt::format("the primary hands over to process {}, which does not finish; end that "
                           "one",
                           successor_pid_));
    else if (closed_.load(std::memory_order_relaxed))
        refuse(connection, errc::primary_lost,
               "the primary shuts the domain down; start a new one");
    else
        return false;
    return true;
}

bool admission::begin_hand_over(int connection)
{
    if (stage_ != stage::serving)
        return refuse(connection, errc::in_use,
                      fmt::format("the primary hands over to process {} already; wait for that one",
                                  successor_pid_));
    stage_ = stage::asked;
    successor_ = connection;
    successor_pid_ = ipc::peer_of(connection).pid;
    return send_region(connection, map_access::read_write);
}

bool admission::on_successor(int connection, std::span<const std::byte> bytes)
{
    namespace wire = ipc::wire;
    if (wire::as<wire::member_message>(bytes, wire::kind::let_go) && stage_ == stage::asked) {
        stage_ = stage::letting_go;
        COHORT_FAULT_POINT("handover.letting_go");
        calls_.let_go();
        COHORT_FAULT_POINT("handover.let_go");
        const wire::member_message done{.head = {.kind = wire::kind::let_go},
                                        .member = shared().self().id,
                                        .generation = shared().self().generation};
        return ipc::send_message(connection, wire::bytes_of(done));
    }
    if (wire::as<wire::member_message>(bytes, wire::kind::took_over) &&
        stage_ == stage::letting_go) {
        stage_ = stage::gone;
        calls_.gone();
    }
    return false;  // all has been said, or what came is not of a hand-over
}

/// The successor hung up.
void admission::end_hand_over(ipc::dispatcher& loop)
{
    if (stage_ == stage::asked)
        stage_ = stage::serving;
    if (stage_ != stage::letting_go) {
        successor_ = -1;
        return;
    }
    bool back = false;
    try {
        back = calls_.take_back();
    } catch (...) {  // for want of descriptors, for instance: this is called again
        std::this_thread::sleep_for(100ms);
        throw;
    }
    successor_ = -1;
    stage_ = back ? stage::serving : stage::gone;
    if (!back)  // a third process has the lock
        return calls_.gone();
    loop.set_primary_link(-1);
    // Members may have followed the successor.
    for (const auto& [connection, member] : members_)
        if (!send_adopt(connection))
            log(log_level::info, "member {} does not read that its primary is back", member.id);
}

void admission::introduce(member_ref member, int pidfd, int wake, int except)
{
    for (const auto& [connection, other] : members_)
        if (connection != except && !ipc::send_peer(connection, member, pidfd, wake))
            log(log_level::warning, "member {} does not read news of member {}", other.id,
                member.id);
}

bool admission::welcome(ipc::dispatcher& loop, int connection, member_ref newcomer)
{
    auto sent_by = std::move(applicants_[connection]);
    applicants_.erase(connection);

    // The newcomer learns of all, and all learn of the newcomer.
    bool sent = send_self(connection);
    loop.known().for_each([&](const ipc::peers::descriptors& known) {
        sent =
            sent && ipc::send_peer(connection, known.member, known.pidfd.get(), known.wake.get());
    });
    introduce(newcomer, sent_by.pidfd.get(), sent_by.wake.get(), connection);
    COHORT_FAULT_POINT("admission.introduced");
    members_[connection] = newcomer;
    loop.learn(newcomer, std::move(sent_by.pidfd), std::move(sent_by.wake));

    const ipc::wire::member_message done{.head = {.kind = ipc::wire::kind::welcome},
                                         .member = newcomer.id,
                                         .generation = newcomer.generation};
    sent = sent && ipc::send_message(connection, ipc::wire::bytes_of(done));
    COHORT_FAULT_POINT("admission.welcomed");
    return sent;
}

void admission::on_closed(ipc::dispatcher& loop, int connection)
{
    applicants_.erase(connection);
    members_.erase(connection);
    if (connection == successor_)
        end_hand_over(loop);
    member_service::on_closed(loop, connection);
}

}  // namespace cohort::primary
