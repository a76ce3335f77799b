#include "cohort/ipc/requests.hpp"

#include "text_bytes.hpp"

#include <algorithm>
#include <utility>

namespace cohort::ipc {
namespace {

constexpr std::uint64_t bit(std::size_t peer) noexcept
{
    return std::uint64_t{1} << peer;
}
constexpr std::uint64_t bits_below(std::size_t peers) noexcept
{
    return peers == max_members ? ~std::uint64_t{0} : bit(peers) - 1;
}
static_assert(max_members == 64);

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

std::uint64_t request_book::open(std::span<const member_ref> peers, deadline until,
                                 answers_handler then)
{
    answers none;
    none.reserve(peers.size());
    const std::lock_guard guard{mutex_};
    const auto id = next_id_++;
    auto& asked = enter(id);
    asked.given = std::move(none);
    for (const auto peer : peers)
        asked.given.push_back({peer, verdict::timed_out, {}});
    asked.open = bits_below(peers.size());
    asked.until = until;
    asked.then = std::move(then);
    if (asked.then)
        ++with_callback_;
    if (is_closed())
        refuse_locked(asked);
    return id;
}

request_book::entry& request_book::enter(std::uint64_t id)
{
    if (spare_.empty())
        return entries_[id];
    spare_.key() = id;
    return entries_.insert(entries_.end(), std::move(spare_))->second;
}

/// For who calls it, or to be destroyed without the mutex: what it captures may ask as well.
answers_handler request_book::take_callback(entry& asked)
{
    if (asked.then)
        --with_callback_;
    return std::exchange(asked.then, {});
}

answers request_book::remove(book::iterator at)
{
    auto given = std::move(at->second.given);
    spare_ = entries_.extract(at);
    return given;
}

bool request_book::settle_locked(entry& asked, member_ref peer, verdict what,
                                 std::span<const std::byte> payload,
                                 std::vector<file_descriptor> fds)
{
    for (std::size_t i = 0; i != asked.given.size(); ++i) {
        auto& open = asked.given[i];
        if (open.peer != peer || (asked.open & bit(i)) == 0)
            continue;
        open.payload.assign(payload.begin(), payload.end());  // may throw
        open.what = what;
        open.fds = std::move(fds);
        asked.open &= ~bit(i);
        if (asked.open == 0)
            asked.changed.notify_all();
        return true;
    }
    return false;
}

bool request_book::settle(std::uint64_t id, member_ref peer, verdict what,
                          std::span<const std::byte> payload, std::vector<file_descriptor> fds)
{
    const std::lock_guard guard{mutex_};
    const auto found = entries_.find(id);
    if (found != entries_.end() &&
        settle_locked(found->second, peer, what, payload, std::move(fds)))
        return true;
    ++late_replies_;
    return false;
}

void request_book::member_died(member_ref dead)
{
    const std::lock_guard guard{mutex_};
    for (auto& [id, asked] : entries_)
        settle_locked(asked, dead, verdict::died, {});
}

bool request_book::cancel(std::uint64_t id)
{
    answers_handler unheard;
    const std::lock_guard guard{mutex_};
    const auto found = entries_.find(id);
    if (found == entries_.end())
        return false;
    const bool open = found->second.open != 0;
    if (!open && found->second.then)
        return false;  // it will be called
    unheard = take_callback(found->second);
    remove(found);
    return open;
}

void request_book::close()
{
    const std::lock_guard guard{mutex_};
    closed_.store(true, std::memory_order_relaxed);  // a hint for who does not hold the mutex
    for (auto& [id, asked] : entries_)
        refuse_locked(asked);
}

void request_book::refuse_locked(entry& asked)
{
    constexpr std::string_view why = "this member leaves the domain";
    for (const auto& one : asked.given)
        settle_locked(asked, one.peer, verdict::refused, bytes_of(why));
}

bool request_book::is_done(std::uint64_t id) const
{
    const std::lock_guard guard{mutex_};
    const auto found = entries_.find(id);
    return found == entries_.end() || found->second.open == 0;
}

std::optional<answers> request_book::take_if_done(std::uint64_t id)
{
    const std::lock_guard guard{mutex_};
    const auto found = entries_.find(id);
    if (found == entries_.end())
        return answers{};
    return found->second.open == 0 ? std::optional{remove(found)} : std::nullopt;
}

void request_book::wait(std::uint64_t id, deadline until) const
{
    std::unique_lock guard{mutex_};
    const auto found = entries_.find(id);
    if (found == entries_.end())
        return;
    const auto& asked = found->second;  // stays: only the caller takes it
    asked.changed.wait_until(guard, until, [&] { return asked.open == 0; });
}

answers request_book::take(std::uint64_t id)
{
    const std::lock_guard guard{mutex_};
    const auto found = entries_.find(id);
    return found == entries_.end() ? answers{} : remove(found);
}

std::size_t request_book::run_callbacks()
{
    std::size_t called = 0;
    std::uint64_t opened_later = 0;
    while (with_callback_ != 0) {
        answers_handler then;
        answers given;
        {
            const std::lock_guard guard{mutex_};
            if (opened_later == 0)
                opened_later = next_id_;
            const auto now = steady_clock::now();
            const auto ended = std::ranges::find_if(entries_, [&](const auto& one) {
                const auto& asked = one.second;
                return asked.then && (asked.open == 0 || asked.until <= now);
            });
            if (ended == entries_.end() || ended->first >= opened_later)
                return called;
            then = take_callback(ended->second);
            given = remove(ended);
        }
        then(std::move(given));
        ++called;
    }
    return called;
}

deadline request_book::next_deadline() const
{
    const std::lock_guard guard{mutex_};
    auto next = deadline::max();
    for (const auto& [id, asked] : entries_)
        if (asked.then)
            next = std::min(next, asked.until);
    return next;
}

std::uint64_t request_book::late_replies() const
{
    const std::lock_guard guard{mutex_};
    return late_replies_;
}

std::size_t request_book::open_requests() const
{
    const std::lock_guard guard{mutex_};
    return entries_.size();
}

async_request::async_request(std::shared_ptr<request_book> book, std::uint64_t id, deadline until,
                             bool has_callback, awaiter await)
    : book_{std::move(book)}
    , id_{id}
    , until_{until}
    , has_callback_{has_callback}
    , await_{std::move(await)}
{
}

async_request& async_request::operator=(async_request&& other) noexcept
{
    std::swap(book_, other.book_);
    std::swap(id_, other.id_);
    std::swap(until_, other.until_);
    std::swap(has_callback_, other.has_callback_);
    std::swap(await_, other.await_);
    return *this;
}

async_request::~async_request()
{
    if (book_ && !has_callback_)
        book_->cancel(id_);
}

bool async_request::is_done() const
{
    return !book_ || steady_clock::now() >= until_ || book_->is_done(id_);
}

answers async_request::wait()
{
    if (!book_ || has_callback_)
        return {};
    const auto book = std::exchange(book_, {});
    auto given = book->take_if_done(id_);
    return given ? std::move(*given) : await_(id_, until_);
}

bool async_request::cancel()
{
    return book_ && book_->cancel(id_);
}

}  // namespace cohort::ipc
