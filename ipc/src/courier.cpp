#include "cohort/ipc/courier.hpp"

#include "box_name.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/wire.hpp"
#include "text_bytes.hpp"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::ipc {
namespace {

constexpr auto parcel_patience = 5s;      // from its message on; it was sent before that
constexpr auto connect_patience = 500ms;  // a stopped member accepts nobody

std::string why_not(post_office::delivery result)
{
    switch (result) {
    case post_office::delivery::no_message_free: return "all messages of the domain are in use";
    case post_office::delivery::inbox_full: return "its inbox is full";
    case post_office::delivery::inbox_damaged: return "its inbox is damaged; end that member";
    case post_office::delivery::kept_waiting:
        return "a process that is stopped keeps others from posting; continue or end it";
    case post_office::delivery::too_large: return "the name of the action exceeds 63 characters";
    case post_office::delivery::delivered:
    case post_office::delivery::no_such_member: break;
    }
    return "it does not live";
}

}  // namespace

std::span<const std::byte> received_letter::payload() const noexcept
{
    if (head.boxed_bytes != 0)
        return std::span<const std::byte>{box}.first(
            std::min<std::size_t>(box.size(), head.boxed_bytes));
    return {object->payload(), head.payload_bytes};
}

courier::courier(domain& shared, peers& others, const rendezvous& place, int own_wake)
    : domain_{shared}
    , peers_{others}
    , place_{place}
    , post_{shared}
    , own_wake_{own_wake}
{
}

courier::~courier()
{
    close();
}

void courier::wake_reader() const noexcept
{
    const std::uint64_t one = 1;
    static_cast<void>(!::write(own_wake_, &one, sizeof one));
}

courier::receipt courier::deliver(member_ref to, const letter& sent)
{
    if (sent.payload.size() > max_boxed_payload)
        return {outcome::refused, fmt::format("a payload of {} bytes exceeds {}",
                                              sent.payload.size(), max_boxed_payload)};
    if (sent.fds.size() > max_message_fds)
        return {outcome::refused,
                fmt::format("{} descriptors exceed {}", sent.fds.size(), max_message_fds)};
    envelope wrapped{
        .kind = sent.kind, .id = sent.id, .action = sent.action, .payload = sent.payload};
    if (sent.payload.size() <= max_payload && sent.fds.empty())
        return post(to, wrapped);
    if (to.id == 0 || to.id >= max_members || !domain_.members().members().is_live(to))
        return {outcome::no_such_member, "it does not live"};
    if (sent.payload.size() <= max_payload)
        return post_with_fds(to, sent, wrapped);
    memzone box;
    try {
        box = make_box(to, sent.payload);
    } catch (const error& refused) {
        return {outcome::refused, refused.what()};
    }
    const std::string name{box.name()};
    wrapped.payload = bytes_of(name);
    wrapped.boxed_bytes = sent.payload.size();
    auto result = post_with_fds(to, sent, wrapped);
    if (result.what != outcome::delivered)
        release_box(box);
    return result;
}

courier::receipt courier::post_with_fds(member_ref to, const letter& sent, envelope wrapped)
{
    if (sent.fds.empty())
        return post(to, wrapped);
    {
        const std::lock_guard guard{mutex_};
        wrapped.parcel = next_number_++;
    }
    wrapped.fd_count = static_cast<std::uint8_t>(sent.fds.size());
    const auto self = domain_.self();
    const wire::parcel ahead{
        .member = self.id, .generation = self.generation, .number = wrapped.parcel};
    try {
        const auto connection =
            connect_to(place_.member_socket(to.id), deadline_in(connect_patience));
        if (!send_message(connection.get(), wire::bytes_of(ahead), sent.fds))
            return {outcome::refused,
                    fmt::format("the system does not take {} descriptors for it: {}",
                                sent.fds.size(), describe_errno(errno))};
        COHORT_FAULT_POINT("ipc.parcel_sent");
        auto result = post(to, wrapped);
        if (result.what != outcome::delivered)  // it need not keep them
            static_cast<void>(send_message(connection.get(), wire::bytes_of(ahead)));
        return result;
    } catch (const error& refused) {
        return {outcome::refused, refused.what()};
    }
}

courier::receipt courier::post(member_ref to, const envelope& wrapped)
{
    const auto result = post_.post(to, wrapped, [this](member_ref sleeper) {
        if (sleeper == domain_.self())
            wake_reader();
        else
            peers_.wake(sleeper);
    });
    if (result == post_office::delivery::delivered)
        return {};
    return {result == post_office::delivery::no_such_member ? outcome::no_such_member
                                                            : outcome::refused,
            why_not(result)};
}

bool courier::open(received_letter& arrived)
{
    const auto& head = arrived.head;
    arrived.give_up = head.fd_count == 0 ? deadline{} : deadline_in(parcel_patience);
    if (head.boxed_bytes == 0)
        return true;
    if (head.payload_bytes > fixed_name<32>::max_length)
        return false;
    // A copy: what another process can still change is looked at once.
    const std::string name{reinterpret_cast<const char*>(arrived.object->payload()),
                           head.payload_bytes};
    const auto route = route_of_box(name);
    if (!route || route->from != head.sender() || route->to != domain_.self())
        return false;
    arrived.box = domain_.find_memzone(name);
    if (arrived.box.size() < head.boxed_bytes)
        return false;
    boxes_in_hand_.push_back(name);
    return true;
}

void courier::read_inbox()
{
    while (!post_.is_empty()) {
        if (spare_.empty())
            spare_.emplace_back();
        auto& arrived = spare_.front();
        arrived.object = post_.take(arrived.head);
        if (!arrived.object)
            return;
        if (open(arrived)) {
            backlog_.splice(backlog_.end(), spare_, spare_.begin());
        } else {
            ++dropped_;
            post_.free(arrived.object);
            arrived = {};
        }
    }
}

received_letter courier::remove(std::list<received_letter>::iterator at)
{
    auto removed = std::move(*at);
    *at = {};
    spare_.splice(spare_.begin(), backlog_, at);
    return removed;
}

bool courier::is_complete(received_letter& arrived)
{
    if (arrived.head.fd_count == 0 || !arrived.fds.empty() || arrived.lost)
        return true;
    const auto found = parcels_.find({key_of(arrived.sender()), arrived.head.parcel});
    if (found != parcels_.end() && found->second.size() == arrived.head.fd_count) {
        arrived.fds = std::move(found->second);
        parcels_.erase(found);
        return true;
    }
    arrived.lost = arrived.give_up < steady_clock::now();
    dropped_ += arrived.lost ? 1 : 0;
    return arrived.lost;
}

bool courier::settle_answers(const settler& settle, std::list<received_letter>& boxed)
{
    bool more = false;
    read_inbox();
    for (auto next = backlog_.begin(); next != backlog_.end();) {
        const auto at = next++;
        const bool complete = is_complete(*at);
        if (!complete || !at->is_answer()) {
            more = more || complete;
        } else if (at->head.boxed_bytes != 0) {
            boxed.splice(boxed.end(), backlog_, at);
        } else {
            auto done = remove(at);
            settle(done);
            post_.free(done.object);
        }
    }
    return more;
}

void courier::settle_boxed(const settler& settle, std::list<received_letter>& boxed)
{
    for (auto& done : boxed) {
        settle(done);
        discard(done);
    }
}

std::optional<received_letter> courier::oldest()
{
    std::vector<member_ref> waiting;
    for (auto at = backlog_.begin(); at != backlog_.end(); ++at) {
        const bool overtakes = std::ranges::find(waiting, at->sender()) != waiting.end();
        if (!at->is_answer() && !overtakes && is_complete(*at))
            return remove(at);
        if (!at->is_answer())
            waiting.push_back(at->sender());
    }
    return std::nullopt;
}

bool courier::collect(const settler& settle)
{
    std::list<received_letter> boxed;
    std::unique_lock guard{mutex_};
    const bool more = settle_answers(settle, boxed);
    guard.unlock();
    settle_boxed(settle, boxed);
    return more;
}

std::optional<received_letter> courier::next(const settler& settle)
{
    std::list<received_letter> boxed;
    std::unique_lock guard{mutex_};
    auto found = settle_answers(settle, boxed) ? oldest() : std::nullopt;
    guard.unlock();
    settle_boxed(settle, boxed);
    return found;
}

void courier::discard(received_letter& done) noexcept
{
    if (done.head.boxed_bytes != 0) {
        const std::string name{done.box.name()};
        release_box(done.box);
        const std::lock_guard guard{mutex_};
        std::erase(boxes_in_hand_, name);
    }
    done.fds.clear();
    post_.free(std::exchange(done.object, nullptr));
}

void courier::close() noexcept
{
    std::list<received_letter> unheard;
    {
        const std::lock_guard guard{mutex_};
        unheard.swap(backlog_);
        parcels_.clear();
    }
    for (auto& one : unheard)
        discard(one);
    post_.drain_own();
}

std::uint64_t courier::dropped() const
{
    const std::lock_guard guard{mutex_};
    return dropped_ + post_.dropped();
}

std::size_t courier::parcels() const
{
    const std::lock_guard guard{mutex_};
    return parcels_.size();
}

}  // namespace cohort::ipc
