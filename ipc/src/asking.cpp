// The asking side of actions: whom a message is for, sending it, and waiting for the answers.

#include "cohort/base/cache_line.hpp"
#include "cohort/ipc/actions.hpp"
#include "text_bytes.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace cohort::ipc {
namespace {

// About what it takes to wake a sleeping receiver: then one wake is all a request costs.
constexpr auto spin_time = 60us;

}  // namespace

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

actions::resolved actions::resolve(const target& to, std::string_view action) const
{
    using group = target::group;
    if (to.whom == group::member)
        return {to.member};
    resolved found;
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

std::size_t actions::send(const target& to, std::string_view name, std::string_view text,
                          std::span<const int> fds)
{
    const letter sent{
        .kind = message_kind::send, .action = name, .payload = bytes_of(text), .fds = fds};
    std::size_t delivered = 0;
    for (const auto peer : resolve(to, name))
        delivered += courier_.deliver(peer, sent).what == courier::outcome::delivered ? 1 : 0;
    return delivered;
}

answer actions::request(const target& to, std::string_view name, std::string_view text,
                        steady_clock::duration timeout)
{
    auto all = ask_and_await(to, name, text, timeout);
    return all.empty() ? answer{} : std::move(all.front());
}

answers actions::request_all(std::string_view name, std::string_view text,
                             steady_clock::duration timeout)
{
    return ask_and_await(target::group::others, name, text, timeout);
}

async_request actions::request_async(const target& to, std::string_view name, std::string_view text,
                                     request_options options)
{
    const auto until = deadline_in(options.timeout);
    const bool has_callback = static_cast<bool>(options.then);
    const auto id = begin(to, name, text, until, std::move(options));
    if (has_callback)
        courier_.wake_reader();  // it sleeps no longer than until the deadline, or has all answers
                                 // already
    return {book_, id, until, has_callback,
            [this](std::uint64_t waited, deadline ends) { return await(waited, ends, {}); }};
}

std::uint64_t actions::begin(const target& to, std::string_view name, std::string_view text,
                             deadline until, request_options options)
{
    const auto peers = resolve(to, name);
    const auto id = book_->open({peers.data(), peers.size()}, until, std::move(options.then));
    const letter sent{.kind = message_kind::request,
                      .id = id,
                      .action = name,
                      .payload = bytes_of(text),
                      .fds = options.fds};
    try {
        for (const auto peer : peers)
            if (!book_->is_closed())
                ask(id, to, peer, sent);
    } catch (...) {
        book_->cancel(id);
        throw;
    }
    return id;
}

answers actions::ask_and_await(const target& to, std::string_view name, std::string_view text,
                               steady_clock::duration timeout)
{
    // Where a dispatcher's thread serves, and one message is sent, a quick answer costs no look at
    // the clock.
    const bool is_quick = !to.is_group() && text.size() <= max_payload && !reads_alone();
    const auto start = is_quick ? deadline{} : steady_clock::now();
    const auto id = begin(to, name, text, deadline::max());
    return await(id, start, timeout);
}

answers actions::await(std::uint64_t id, deadline start, steady_clock::duration timeout)
{
    try {
        if (reads_alone())
            return serve_until(id, deadline_after(start, timeout));
        if (auto given = spin_for(id, start))
            return std::move(*given);
    } catch (...) {  // of a callback, for instance
        book_->cancel(id);
        throw;
    }
    const auto book = book_;  // who sleeps is told when this goes
    book->wait(id, deadline_after(start, timeout));
    return book->take(id);
}

answers actions::serve_until(std::uint64_t id, deadline until)
{
    // The pump takes what would wake a loop of the user's; so that looks for itself again.
    struct waker {
        const courier* wakes;
        ~waker()
        {
            if (wakes)
                wakes->wake_reader();
        }
    } afterwards{nullptr};
    for (;;) {
        if (auto given = book_->take_if_done(id))
            return std::move(*given);
        if (steady_clock::now() >= until)
            return book_->take(id);
        if (!is_serving())
            afterwards.wakes = &courier_;
        if ((pump_ ? pump_() : serve()) == 0)
            std::this_thread::sleep_for(50us);
    }
}

/// While a requester looks, senders need not wake the dispatcher; afterwards they must again.
class actions::looking {
public:
    explicit looking(actions& asks) noexcept : asks_{asks} { bell().disarm(); }
    ~looking()
    {
        bell().arm();
        if (left_something || !asks_.courier_.is_empty())
            asks_.courier_.wake_reader();
    }
    looking(const looking&) = delete;
    looking& operator=(const looking&) = delete;

    /// Whoever answers may have been woken on this processor. Where it is crowded this thread does
    /// not run for a while, so from the second time on whoever sends wakes the dispatcher
    /// meanwhile. The first time the answer would, mostly, which costs more than it took.
    void let_others_run() noexcept
    {
        if (std::exchange(has_let_, true))
            bell().arm();
        if (asks_.courier_.is_empty())
            std::this_thread::yield();
        bell().disarm();
    }

    bool left_something = false;  ///< that is no answer, for who serves

private:
    [[nodiscard]] doorbell_layout& bell() noexcept
    {
        auto& shared = asks_.domain_;
        return shared.region().members.members[shared.self().id].mailbox_bell;
    }

    actions& asks_;
    bool has_let_ = false;
};

std::optional<answers> actions::spin_for(std::uint64_t id, deadline& start)
{
    looking here{*this};
    deadline until{};
    for (unsigned round = 1;; ++round) {
        const bool arrived = !courier_.is_empty();
        if (arrived)
            here.left_something |= collect() || book_->has_callbacks();  // answered, perhaps
        else
            cpu_relax();
        // Others settle it too: the dispatcher, and threads that look for answers of their own.
        if (arrived || round % 16 == 0)
            if (auto given = book_->take_if_done(id))
                return given;
        if (round != 64 && round % 256 != 0)
            continue;
        const auto now = steady_clock::now();
        if (start == deadline{})
            start = now;
        if (until == deadline{})
            until = now + spin_time;
        else if (now >= until)
            return std::nullopt;
        here.let_others_run();
    }
}

void actions::ask(std::uint64_t id, const target& to, member_ref peer, const letter& sent)
{
    if (peer.id == 0) {
        const auto why = to.whom == target::group::primary
                             ? std::string{"no primary lives"}
                             : fmt::format("no member named \"{}\" lives", to.name);
        book_->settle(id, peer, verdict::refused, bytes_of(why));
        return;
    }
    const auto result = courier_.deliver(peer, sent);
    if (result.what == courier::outcome::no_such_member)
        book_->settle(id, peer, verdict::died, {});
    else if (result.what == courier::outcome::refused)
        book_->settle(id, peer, verdict::refused,
                      bytes_of(naming(peer) + " was not asked: " + result.why));
}

}  // namespace cohort::ipc
