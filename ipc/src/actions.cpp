#include "cohort/ipc/actions.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::ipc {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) noexcept
{
    return std::as_bytes(std::span{text});
}

std::string_view why_not_delivered(post_office::delivery result) noexcept
{
    switch (result) {
    case post_office::delivery::delivered: return "";
    case post_office::delivery::no_such_member: return "does not live";
    case post_office::delivery::no_message_free:
        return "was not asked: all messages of the domain are in use";
    case post_office::delivery::inbox_full: return "was not asked: its inbox is full";
    case post_office::delivery::too_large:
        return "was not asked: the payload exceeds 65536 bytes or the name 63";
    }
    return "?";
}

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

void message::reply(std::span<const std::byte> payload)
{
    if (payload.size() > max_payload)
        throw error{errc::invalid_argument,
                    fmt::format("a reply of {} bytes exceeds {}; use a memzone", payload.size(),
                                max_payload)};
    if (!wants_reply() || answered_)
        return;
    answered_ = true;
    channel_.deliver(from(), message_kind::reply, layout_.id, action(), payload);
}

actions::actions(domain& shared, peers& others, int own_wake)
    : domain_{shared}
    , peers_{others}
    , post_{shared}
    , own_wake_{own_wake}
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
        if (!self.offers[i].view().empty())
            continue;
        added.offer = i;
        self.offers[i] = fixed_name<64>{added.name};
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

std::optional<member_ref> actions::find_member(std::string_view name) const noexcept
{
    std::optional<member_ref> found;
    domain_.members().members().for_each_member(
        [&](member_id id, const member_layout& member, member_word word) {
            if (word.state == member_state::live && member.name == name)
                found = member_ref{id, word.generation};
        });
    return found;
}

std::optional<member_ref> actions::find_primary() const noexcept
{
    const auto word = domain_.region().header.primary.load(std::memory_order_acquire);
    const member_ref primary{static_cast<member_id>(word >> 32), static_cast<std::uint32_t>(word)};
    return domain_.members().members().is_live(primary) ? std::optional{primary} : std::nullopt;
}

std::vector<member_ref> actions::resolve(const target& to, std::string_view action) const
{
    using group = target::group;
    if (to.whom == group::member)
        return {to.member};
    std::vector<member_ref> found;
    if (to.whom == group::named || to.whom == group::primary) {
        const auto one = to.whom == group::primary ? find_primary() : find_member(to.name);
        return {one.value_or(member_ref{})};
    }
    domain_.members().members().for_each_member([&](member_id id, const member_layout& member,
                                                    member_word word) {
        const bool offers =
            std::ranges::any_of(member.offers, [&](const auto& offer) { return offer == action; });
        if (word.state == member_state::live && (to.whom != group::offering || offers) &&
            (to.whom != group::others || id != domain_.self().id))
            found.push_back({id, word.generation});
    });
    return found;
}

std::string actions::naming(member_ref member) const
{
    if (member.id == 0 || member.id >= max_members)
        return "nobody";
    const auto& slot = domain_.members().members().member(member.id);
    return fmt::format("member {} \"{}\"", member.id,
                       domain_.members().members().is_current(member) ? slot.name.view() : "gone");
}

post_office::delivery actions::deliver(member_ref to, message_kind kind, std::uint64_t id,
                                       std::string_view name, std::span<const std::byte> payload)
{
    return post_.post(to, kind, id, name, payload, [this](member_ref sleeper) {
        if (sleeper == domain_.self())
            wake_server();
        else
            peers_.wake(sleeper);
    });
}

void actions::wake_server() noexcept
{
    const std::uint64_t one = 1;
    static_cast<void>(!::write(own_wake_, &one, sizeof one));
}

std::size_t actions::send(const target& to, std::string_view name, std::string_view text)
{
    std::size_t delivered = 0;
    for (const auto peer : resolve(to, name))
        delivered += deliver(peer, message_kind::send, 0, name, bytes_of(text)) ==
                             post_office::delivery::delivered
                         ? 1
                         : 0;
    return delivered;
}

answer actions::request(const target& to, std::string_view name, std::string_view text,
                        steady_clock::duration timeout)
{
    auto all = request_async(to, name, text, {.timeout = timeout}).wait();
    return all.empty() ? answer{} : std::move(all.front());
}

answers actions::request_all(std::string_view name, std::string_view text,
                             steady_clock::duration timeout)
{
    return request_async(target::group::others, name, text, {.timeout = timeout}).wait();
}

async_request actions::request_async(const target& to, std::string_view name, std::string_view text,
                                     request_options options)
{
    const auto until = deadline_in(options.timeout);
    const bool has_callback = static_cast<bool>(options.then);
    const auto peers = resolve(to, name);
    const auto id = book_->open(peers, until, std::move(options.then));
    for (const auto peer : peers) {
        if (peer.id == 0) {
            const auto why = to.whom == target::group::primary
                                 ? std::string{"no primary lives"}
                                 : fmt::format("no member named \"{}\" lives", to.name);
            book_->settle(id, peer, verdict::refused, bytes_of(why));
        } else {
            ask(id, peer, name, text);
        }
    }
    if (has_callback)
        wake_server();  // it sleeps no longer than until the deadline, or has all answers already
    std::function<void()> meanwhile;
    if (is_serving())  // nobody else reads the inbox
        meanwhile = [this] {
            if (serve() == 0)
                std::this_thread::sleep_for(50us);
        };
    return {book_, id, until, has_callback, std::move(meanwhile)};
}

void actions::ask(std::uint64_t id, member_ref peer, std::string_view name, std::string_view text)
{
    const auto result = deliver(peer, message_kind::request, id, name, bytes_of(text));
    if (result == post_office::delivery::no_such_member)
        book_->settle(id, peer, verdict::died, {});
    else if (result != post_office::delivery::delivered)
        book_->settle(id, peer, verdict::refused,
                      bytes_of(naming(peer) + " " + std::string{why_not_delivered(result)}));
}

void actions::run_handler(message_layout& layout)
{
    message received{*this, layout};
    std::string refusal;
    std::unique_lock guard{registry_mutex_};
    auto* called = find(layout.action.view());
    if (called) {
        ++called->running;
        guard.unlock();
        try {
            called->handler(received);
            refusal = fmt::format("the handler of {} gave no reply", naming(domain_.self()));
        } catch (const std::exception& thrown) {
            refusal =
                fmt::format("the handler of {} failed: {}", naming(domain_.self()), thrown.what());
            log(log_level::warning, "action \"{}\": {}", layout.action.view(), refusal);
        }
        guard.lock();
        if (--called->running == 0 && called->offer == max_offers)
            delete called;
        handler_ended_.notify_all();
    } else {
        refusal =
            fmt::format("{} offers no action \"{}\"", naming(domain_.self()), layout.action.view());
    }
    guard.unlock();
    if (received.wants_reply() && !received.answered_)
        deliver(received.from(), message_kind::refusal, layout.id, layout.action.view(),
                bytes_of(refusal));
}

bool actions::collect()
{
    const std::lock_guard guard{inbox_mutex_};
    while (auto* layout = post_.take()) {
        if (layout->kind == message_kind::send || layout->kind == message_kind::request) {
            backlog_.push_back(layout);
            continue;
        }
        const auto what = layout->kind == message_kind::reply ? verdict::replied : verdict::refused;
        book_->settle(layout->id, layout->sender(), what,
                      {layout->payload(), layout->payload_bytes});
        post_.free(layout);
    }
    return !backlog_.empty();
}

message_layout* actions::next_to_handle()
{
    if (!collect())
        return nullptr;
    const std::lock_guard guard{inbox_mutex_};
    if (backlog_.empty())
        return nullptr;
    auto* oldest = backlog_.front();
    backlog_.pop_front();
    return oldest;
}

std::size_t actions::serve()
{
    const std::lock_guard guard{serving_};
    const serving_scope scope{server_};
    std::size_t served = 0;
    while (auto* layout = next_to_handle()) {
        ++served;
        run_handler(*layout);
        post_.free(layout);
    }
    if (!scope.is_nested())
        served += book_->run_callbacks();
    return served;
}

void actions::close()
{
    book_->close();
    const std::lock_guard guard{inbox_mutex_};
    for (auto* unheard : backlog_)
        post_.free(unheard);
    backlog_.clear();
    post_.drain(domain_.self().id);
}

}  // namespace cohort::ipc
