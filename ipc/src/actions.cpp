#include "cohort/ipc/actions.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/socket.hpp"
#include "text_bytes.hpp"

#include <algorithm>
#include <memory>
#include <new>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

constexpr std::size_t served_at_once = 256;  // an inbox full

/// This thread handles messages for a scope; scopes may nest.
class serving_scope {
public:
    // Relaxed: each thread only looks for its own id.
    explicit serving_scope(std::atomic<std::thread::id>& server) noexcept
        : server_{server}
        , before_{server.exchange(std::this_thread::get_id(), std::memory_order_relaxed)}
    {
    }
    ~serving_scope() { server_.store(before_, std::memory_order_relaxed); }  // as above
    serving_scope(const serving_scope&) = delete;
    serving_scope& operator=(const serving_scope&) = delete;
    [[nodiscard]] bool is_nested() const noexcept { return before_ != std::thread::id{}; }

private:
    std::atomic<std::thread::id>& server_;
    std::thread::id before_;
};

}  // namespace

void message::reply(std::span<const std::byte> payload, std::span<const int> fds)
{
    if (payload.size() > max_boxed_payload || fds.size() > max_message_fds)
        throw error{errc::invalid_argument,
                    fmt::format("a reply of {} bytes and {} descriptors exceeds {} or {}; send "
                                "less at a time",
                                payload.size(), fds.size(), max_boxed_payload, max_message_fds)};
    if (!wants_reply() || answered_)
        return;
    const auto result = respond_({.kind = message_kind::reply,
                                  .id = letter_.head.id,
                                  .action = action(),
                                  .payload = payload,
                                  .fds = fds});
    if (result.what == courier::outcome::refused)
        throw error{errc::no_space, fmt::format("the reply to member {} is not delivered: {}",
                                                from().id, result.why)};
    answered_ = true;
}

actions::actions(domain& shared, peers& others, const rendezvous& place, int own_wake)
    : domain_{shared}
    , courier_{shared, others, place, own_wake}
{
}

actions::~actions()
{
    close();
    entries_.clear_and_dispose([](entry* gone) { delete gone; });
}

actions::entry* actions::find(std::string_view name) noexcept
{
    for (auto& candidate : entries_)
        if (candidate.name == name)
            return &candidate;
    return nullptr;
}

void actions::offer(entry& added)
{
    auto& self = domain_.region().members.members[domain_.self().id];
    for (std::size_t i = 0; i != max_offers; ++i) {
        if (!self.offers[i].empty())
            continue;
        added.offer = i;
        self.offers[i] = fixed_name<64>{added.name};
        COHORT_FAULT_POINT("ipc.offered");
        self.offer_generation.fetch_add(1, std::memory_order_release);
        return;
    }
    throw error{errc::no_space, fmt::format("action \"{}\": a member offers at most {} actions",
                                            added.name, max_offers)};
}

void actions::on(std::string_view name, action_handler handler)
{
    if (!fixed_name<64>::fits(name))
        throw error{errc::name_too_long,
                    fmt::format("the action name \"{}\" must have 1 to {} characters", name,
                                max_action_name)};
    const std::lock_guard guard{registry_mutex_};
    if (find(name))
        throw error{errc::exists,
                    fmt::format("action \"{}\" is registered in this process already", name)};
    auto added = std::make_unique<entry>();
    added->name = name;
    added->handler = std::move(handler);
    offer(*added);
    entries_.push_back(*added.release());
}

bool actions::off(std::string_view name)
{
    std::unique_lock guard{registry_mutex_};
    auto* gone = find(name);
    if (!gone)
        return false;
    auto& self = domain_.region().members.members[domain_.self().id];
    self.offers[gone->offer] = {};
    COHORT_FAULT_POINT("ipc.withdrawn");
    self.offer_generation.fetch_add(1, std::memory_order_release);
    entries_.erase(entries_.iterator_to(*gone));
    if (!is_serving())  // a handler does not wait for itself, nor for one that it was called by
        handler_ended_.wait(guard, [&] { return gone->running == 0; });
    if (gone->running == 0)
        delete gone;
    else
        gone->offer = max_offers;  // the handler that is running deletes it
    return true;
}

void actions::set_pump(std::function<std::size_t()> serve_all, server who)
{
    pump_ = std::move(serve_all);
    who_ = who;
}

void actions::run_handler(received_letter& arrived, const message::responder& respond)
{
    message received{arrived, respond};
    const auto refusal =
        arrived.lost ? fmt::format("the descriptors for {} have not come", naming(domain_.self()))
                     : call_handler(received);
    if (received.wants_reply() && !received.answered_)
        respond({.kind = message_kind::refusal,
                 .id = arrived.head.id,
                 .action = received.action(),
                 .payload = bytes_of(refusal)});
}

std::string actions::call_handler(message& received)
{
    std::unique_lock guard{registry_mutex_};
    auto* called = find(received.action());
    if (called)
        ++called->running;
    guard.unlock();
    std::string refusal;
    try {
        if (!called)
            return answer_unregistered(received);
        called->handler(received);
        if (!received.answered_)
            refusal = fmt::format("the handler of {} gave no reply", naming(domain_.self()));
    } catch (...) {
        refusal =
            fmt::format("the handler of {} failed: {}", naming(domain_.self()), describe_thrown());
        log(log_level::warning, "action \"{}\": {}", received.action(), refusal);
    }
    guard.lock();
    if (called && --called->running == 0 && called->offer == max_offers)
        delete called;
    handler_ended_.notify_all();
    return refusal;
}

std::string actions::answer_unregistered(message& received)
{
    if (unregistered_)
        if (const auto given = unregistered_(received.action(), received.text()))
            received.reply(*given);
    if (received.answered_)
        return {};
    return fmt::format("{} offers no action \"{}\"", naming(domain_.self()), received.action());
}

void actions::handle_foreign(std::string_view name, std::uint64_t id,
                             std::span<const std::byte> payload, std::vector<file_descriptor> fds,
                             const std::function<courier::receipt(const letter&)>& respond)
{
    // As a message lies in its pool: the payload behind the layout.
    std::vector<std::byte> room(sizeof(message_layout) + payload.size() + alignof(message_layout));
    void* at = room.data();
    auto space = room.size();
    std::align(alignof(message_layout), sizeof(message_layout), at, space);
    auto* layout = ::new (at) message_layout{};
    layout->id = id;
    layout->kind = message_kind::request;
    layout->payload_bytes = static_cast<std::uint32_t>(payload.size());
    layout->action = fixed_name<64>{name};
    std::ranges::copy(payload, layout->payload());
    received_letter arrived{.object = layout, .head = *layout, .box = {}, .fds = std::move(fds)};
    const std::lock_guard guard{serving_};
    const serving_scope scope{server_};
    run_handler(arrived, respond);
}

void actions::settle(received_letter& given)
{
    const bool replied = !given.lost && given.head.kind == message_kind::reply;
    const auto payload =
        given.lost ? bytes_of("the descriptors of the reply have not come") : given.payload();
    try {
        book_->settle(given.head.id, given.sender(), replied ? verdict::replied : verdict::refused,
                      payload, std::move(given.fds));
    } catch (const std::bad_alloc&) {
        // Without a reason, for which there may be no memory either.
        book_->settle(given.head.id, given.sender(), verdict::refused, {});
    }
}

bool actions::collect()
{
    return courier_.collect([this](received_letter& given) { settle(given); });
}

std::size_t actions::serve()
{
    const std::lock_guard guard{serving_};
    const serving_scope scope{server_};
    std::size_t served = 0;
    left_over_.store(false, std::memory_order_relaxed);  // a hint
    while (auto arrived = courier_.next([this](received_letter& given) { settle(given); })) {
        ++served;
        run_handler(*arrived,
                    [&](const letter& sent) { return courier_.deliver(arrived->sender(), sent); });
        courier_.discard(*arrived);
        if (served == served_at_once) {  // the dispatcher has more to do than messages
            left_over_.store(true, std::memory_order_relaxed);  // a hint
            courier_.wake_reader();
            break;
        }
    }
    if (!scope.is_nested())
        served += book_->run_callbacks();
    return served;
}

void actions::end_requests()
{
    book_->close();
}

void actions::close()
{
    end_requests();
    courier_.close();
}

}  // namespace cohort::ipc
