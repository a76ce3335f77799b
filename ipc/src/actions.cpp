#include "cohort/ipc/actions.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

thread_local int handler_depth = 0;  // above 0: this thread serves an inbox right now

std::span<const std::byte> bytes_of(std::string_view text) noexcept
{
    return std::as_bytes(std::span{text});
}

std::string_view why_not_delivered(post_office::delivery result) noexcept
{
    switch (result) {
    case post_office::delivery::delivered: return "";
    case post_office::delivery::no_such_member: return "there is no such member";
    case post_office::delivery::no_message_free: return "all messages of the domain are in use";
    case post_office::delivery::inbox_full: return "the inbox of the member is full";
    case post_office::delivery::too_large: return "the payload exceeds 65536 bytes or the name 63";
    }
    return "?";
}

}  // namespace

std::string_view to_text(verdict what) noexcept
{
    switch (what) {
    case verdict::replied: return "replied";
    case verdict::refused: return "refused";
    case verdict::timed_out: return "timed out";
    case verdict::died: return "died";
    }
    return "?";
}

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

actions::actions(domain& shared, peers& others) : domain_{shared}, peers_{others}, post_{shared}
{
}

actions::~actions()
{
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
    const int own = handler_depth > 0 ? 1 : 0;  // called by a handler: do not wait for itself
    handler_ended_.wait(guard, [&] { return gone->running <= own; });
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

post_office::delivery actions::deliver(member_ref to, message_kind kind, std::uint64_t id,
                                       std::string_view name, std::span<const std::byte> payload)
{
    return post_.post(to, kind, id, name, payload,
                      [this](member_ref sleeper) { peers_.wake(sleeper); });
}

bool actions::send(member_ref to, std::string_view name, std::string_view text)
{
    return deliver(to, message_kind::send, 0, name, bytes_of(text)) ==
           post_office::delivery::delivered;
}

answer actions::request(member_ref to, std::string_view name, std::string_view text,
                        steady_clock::duration timeout)
{
    return ask({to}, name, text, timeout).front();
}

std::vector<answer> actions::request_all(std::string_view name, std::string_view text,
                                         steady_clock::duration timeout)
{
    std::vector<member_ref> others;
    domain_.members().members().for_each_member(
        [&](member_id id, const member_layout&, member_word word) {
            if (word.state == member_state::live && id != domain_.self().id)
                others.push_back({id, word.generation});
        });
    return ask(std::move(others), name, text, timeout);
}

std::vector<answer> actions::ask(std::vector<member_ref> to, std::string_view name,
                                 std::string_view text, steady_clock::duration timeout)
{
    const auto until = deadline_in(timeout);
    auto waiting = std::make_shared<pending>();
    waiting->open = to.size();
    for (const auto peer : to)
        waiting->answers.push_back({peer, verdict::timed_out, {}});

    std::unique_lock guard{pending_mutex_};
    const auto id = next_id_++;
    pending_.emplace(id, waiting);  // before anything is sent: a death seen from now on finds it
    guard.unlock();
    for (const auto peer : to) {
        const auto result = deliver(peer, message_kind::request, id, name, bytes_of(text));
        if (result == post_office::delivery::no_such_member)
            settle(id, peer, verdict::died, {});
        else if (result != post_office::delivery::delivered)
            settle(id, peer, verdict::refused, bytes_of(why_not_delivered(result)));
    }

    guard.lock();
    while (waiting->open != 0 && steady_clock::now() < until) {
        if (handler_depth == 0) {
            waiting->changed.wait_until(guard, until);
            continue;
        }
        guard.unlock();  // inside a handler nobody else reads the inbox
        if (serve() == 0)
            std::this_thread::sleep_for(50us);
        guard.lock();
    }
    pending_.erase(id);
    return std::move(waiting->answers);
}

void actions::settle(std::uint64_t id, member_ref peer, verdict what,
                     std::span<const std::byte> payload)
{
    const std::lock_guard guard{pending_mutex_};
    const auto found = pending_.find(id);
    if (found == pending_.end()) {
        ++late_replies_;
        return;
    }
    auto& waiting = *found->second;
    for (auto& open : waiting.answers) {
        if (open.peer != peer || open.what != verdict::timed_out)
            continue;
        open.what = what;
        open.payload.assign(payload.begin(), payload.end());
        --waiting.open;
        waiting.changed.notify_all();
    }
}

void actions::member_died(member_ref dead)
{
    std::vector<std::uint64_t> open;
    {
        const std::lock_guard guard{pending_mutex_};
        for (const auto& [id, waiting] : pending_)
            open.push_back(id);
    }
    for (const auto id : open)
        settle(id, dead, verdict::died, {});
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
            refusal = "the handler gave no reply";
        } catch (const std::exception& thrown) {
            refusal = fmt::format("the handler failed: {}", thrown.what());
            log(log_level::warning, "action \"{}\": {}", layout.action.view(), refusal);
        }
        guard.lock();
        if (--called->running == 0 && called->offer == max_offers)
            delete called;
        handler_ended_.notify_all();
    } else {
        refusal = fmt::format("member {} offers no action \"{}\"", domain_.self().id,
                              layout.action.view());
    }
    guard.unlock();
    if (received.wants_reply() && !received.answered_)
        deliver(received.from(), message_kind::refusal, layout.id, layout.action.view(),
                bytes_of(refusal));
}

std::size_t actions::serve()
{
    const std::lock_guard guard{serving_};
    ++handler_depth;
    std::size_t served = 0;
    while (auto* layout = post_.take()) {
        ++served;
        const std::span<const std::byte> payload{layout->payload(), layout->payload_bytes};
        switch (layout->kind) {
        case message_kind::reply:
            settle(layout->id, layout->sender(), verdict::replied, payload);
            break;
        case message_kind::refusal:
            settle(layout->id, layout->sender(), verdict::refused, payload);
            break;
        case message_kind::send:
        case message_kind::request: run_handler(*layout); break;
        }
        post_.free(layout);
    }
    --handler_depth;
    return served;
}

}  // namespace cohort::ipc
