// Typed objects of users, and the lock that goes with them.

#include "cohort/base/error.hpp"
#include "cohort/ipc/reports.hpp"
#include "support/lost_thread.hpp"
#include "support/scratch_domain.hpp"
#include "support/totals.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

struct point {
    std::int32_t x = 0;
    std::int32_t y = 7;
};
struct alignas(8) wide_point {
    std::int32_t x = 0;
    std::int32_t y = 7;
};
struct alignas(4096) page {
    char bytes[4096]{};
};
struct refuses {
    explicit refuses(int) { throw std::runtime_error{"no"}; }
};

template <typename Call>
std::string sentence_of(errc expected, Call&& call)
{
    try {
        call();
    } catch (const error& failure) {
        CHECK(failure.code() == expected);
        return failure.what();
    }
    FAIL("no error was thrown");
    return {};
}

}  // namespace

TEST_CASE("an object is made from its arguments and found as what it is", "[object]")
{
    scratch_domain domain;
    auto& made = domain->create<point>("p", 3, 4);

    CHECK(domain->find<point>("p") == &made);
    CHECK(made.x == 3);
    CHECK(made.y == 4);
    CHECK(domain->create<point>("default").y == 7);
    CHECK(domain->find<point>("other") == nullptr);
    CHECK(domain.audit().clean());
}

TEST_CASE("a list of the zones names the types of objects as people write them", "[object]")
{
    scratch_domain domain;
    domain->create<point>("p");
    domain->reserve_memzone("plain", 64);
    const auto shown = ipc::list_zones(domain->region()).as_json();
    const auto type_of = [&](std::string_view name) -> nlohmann::json {
        for (const auto& row : shown)
            if (row["name"] == name)
                return row["type"];
        return "not there";
    };

    CHECK(type_of("p") == "cohort::test::(anonymous namespace)::point");
    CHECK(type_of("plain") == nullptr);
}

TEST_CASE("an object keeps its alignment", "[object]")
{
    scratch_domain domain;
    CHECK(reinterpret_cast<std::uintptr_t>(&domain->create<page>("page")) % 4096 == 0);
    CHECK(reinterpret_cast<std::uintptr_t>(&domain->create<char>("char")) % cache_line_bytes == 0);
}

TEST_CASE("an object is refused as another type, and the sentence has both", "[object]")
{
    scratch_domain domain;
    domain->create<point>("p");

    using pair = std::array<std::int32_t, 2>;  // as large, and as aligned
    for (const auto& text :
         {sentence_of(errc::invalid_argument,
                      [&] { static_cast<void>(domain->find<wide_point>("p")); }),
          sentence_of(errc::invalid_argument, [&] { static_cast<void>(domain->find<pair>("p")); }),
          sentence_of(errc::invalid_argument,
                      [&] { static_cast<void>(domain->find<std::uint64_t>("p")); })}) {
        CHECK(text.find("\"p\" is a ") != std::string::npos);
        CHECK(text.find("point of 8 bytes aligned to 4, not a ") != std::string::npos);
    }
}

TEST_CASE("a name is taken until its object is destroyed", "[object]")
{
    scratch_domain domain;
    domain->create<point>("p");
    domain->reserve_memzone("p", 64);  // of another kind

    sentence_of(errc::exists, [&] { domain->create<point>("p"); });
    sentence_of(errc::name_too_long, [&] { domain->create<point>(std::string(32, 'n')); });
    CHECK(domain->destroy_object("p"));
    CHECK_FALSE(domain->destroy_object("p"));
    CHECK(domain->find<point>("p") == nullptr);
    CHECK(domain->create<wide_point>("p").y == 7);
}

TEST_CASE("a constructor that throws leaves neither object nor memory", "[object]")
{
    scratch_domain domain;
    CHECK_THROWS_AS(domain->create<refuses>("r", 1), std::runtime_error);

    CHECK(domain->find<refuses>("r") == nullptr);
    CHECK(domain->create<point>("r").y == 7);
    CHECK(domain.audit().clean());
}

TEST_CASE("threads that count under a robust lock lose no count", "[object][lock][threads]")
{
    scratch_domain domain;
    constexpr std::uint64_t each = 20'000;
    auto& shared = domain->create<totals>("t");
    std::vector<std::thread> threads;
    std::atomic<bool> stalled{false};
    for (int i = 0; i != 3; ++i)
        threads.emplace_back([&] {
            for (std::uint64_t done = 0; done != each; ++done) {
                const robust_guard mine{shared.lock, deadline_in(60s)};
                if (!mine || mine.taken_over() || shared.in != shared.out)
                    stalled = true;
                shared.count_one();
            }
        });
    for (auto& thread : threads)
        thread.join();

    CHECK_FALSE(stalled);
    CHECK(shared.in == 3 * each);
    CHECK(shared.out == 3 * each);
    CHECK(shared.lock.holder() == 0);
}

TEST_CASE("who locks after a lost thread is told, also when another thread has its lane again",
          "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("t");
    lane_id lost = 0;
    domain->leave_lane();
    const bool lane_lives_again = GENERATE(false, true);
    run_and_lose([&] {
        lost = domain->members().lane();
        static_cast<void>(shared.lock.lock(deadline_in(1s)));
        totals::add(shared.in);
    });
    if (lane_lives_again) {
        auto& table = domain->members().members();
        while (table.lane(lost).word().state != lane_state::orphan)
            std::this_thread::yield();
        REQUIRE(domain->members().lane() == lost);
    }
    CHECK(shared.lock.holder() == lost);

    {
        const robust_guard mine{shared.lock, deadline_in(10s)};
        REQUIRE(mine);
        CHECK(mine.taken_over());
        CHECK(shared.in == shared.out + 1);
        shared.repair();
    }
    const robust_guard again{shared.lock, deadline_in(10s)};
    CHECK(again);
    CHECK_FALSE(again.taken_over());
}

TEST_CASE("a repair that is cut short is told to the next", "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("t");
    for (int i = 0; i != 3; ++i)
        run_and_lose([&] { static_cast<void>(shared.lock.lock(deadline_in(10s))); });

    CHECK(shared.lock.lock(deadline_in(10s)) == lock_result::taken_over);
    shared.lock.unlock();
}

TEST_CASE("a sleeper finds the death of the holder", "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("t");
    std::atomic<bool> held{false};
    std::atomic<bool> go{false};
    std::thread holder{[&] {
        run_and_lose([&] {
            held = shared.lock.lock(deadline_in(1s)) == lock_result::acquired;
            while (!go)
                std::this_thread::yield();
        });
    }};
    while (!held)
        std::this_thread::yield();
    std::thread late{[&] {
        std::this_thread::sleep_for(30ms);
        go = true;
    }};

    CHECK(shared.lock.lock(deadline_in(60s)) == lock_result::taken_over);
    shared.lock.unlock();
    holder.join();
    late.join();
}

TEST_CASE("who unlocks wakes a sleeper, who need not find out by himself", "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("t");
    std::vector<steady_clock::duration> waits;
    for (int i = 0; i != 21; ++i) {
        REQUIRE(shared.lock.lock(deadline_in(1s)) == lock_result::acquired);
        auto got = steady_clock::time_point::max();
        std::thread waiter{[&] {
            if (shared.lock.lock(deadline_in(60s)) == lock_result::acquired) {
                got = steady_clock::now();
                shared.lock.unlock();
            }
        }};
        std::this_thread::sleep_for(50ms);  // by now it looks by itself every 16 ms
        const auto unlocked = steady_clock::now();
        shared.lock.unlock();
        waiter.join();
        REQUIRE(got != steady_clock::time_point::max());
        waits.push_back(got - unlocked);
    }
    std::nth_element(waits.begin(), waits.begin() + 10, waits.end());

    CHECK(waits[10] < 3ms);  // half of the sleepers' own looks come later than 8 ms
}

TEST_CASE("behind a live holder a lane gives up at its deadline, behind itself at once",
          "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("t");
    REQUIRE(shared.lock.lock(deadline_in(1s)) == lock_result::acquired);

    CHECK(shared.lock.lock(deadline_in(1h)) == lock_result::stalled);
    lock_result other{};
    std::thread{[&] { other = shared.lock.lock(deadline_in(5ms)); }}.join();
    CHECK(other == lock_result::stalled);
    CHECK(shared.lock.holder() == domain->members().lane());

    shared.lock.unlock();  // wakes nobody: it has given up
    std::thread{[&] {
        other = shared.lock.lock(deadline_in(1s));
        shared.lock.unlock();
    }}.join();
    CHECK(other == lock_result::acquired);
}

TEST_CASE("a lock that a thread takes along as it leaves is the next one's", "[object][lock]")
{
    scratch_domain domain;
    auto& shared = domain->create<totals>("t");
    std::thread{[&] { static_cast<void>(shared.lock.lock(deadline_in(1s))); }}.join();

    CHECK(shared.lock.lock(deadline_in(10s)) == lock_result::taken_over);
    shared.lock.unlock();
}

TEST_CASE("zeroed memory of a heap block is a free lock", "[object][lock]")
{
    scratch_domain domain;
    auto* locks = static_cast<robust_lock*>(domain->heap().zmalloc(sizeof(robust_lock)));
    CHECK(locks->lock(deadline_in(1s)) == lock_result::acquired);
    locks->unlock();
    CHECK(domain->heap().free(locks));
}

}  // namespace cohort::test
