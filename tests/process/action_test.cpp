#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"

#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using ipc::verdict;
using test::eventually;
using test::member_process;
using test::scratch_domain;

namespace {

member_ref find(scratch_domain& domain, std::string_view name)
{
    const auto found = domain->actions().find_member(name);
    REQUIRE(found);
    return *found;
}

}  // namespace

TEST_CASE("a request is answered by the member it names", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");

    const auto answer = domain->actions().request(find(domain, "a"), "ping", "hello");

    CHECK(answer.what == verdict::replied);
    CHECK(answer.text() == "pong hello");
}

TEST_CASE("each peer of a request to all has its own verdict", "[actions]")
{
    scratch_domain domain;
    member_process answers{"answers"};
    member_process refuses{"refuses"};
    member_process dies{"dies"};
    member_process hangs{"hangs"};
    answers.tell("offer ping");
    dies.tell("offer-death ping");
    hangs.tell("offer-hang ping");
    const auto names = [&] {
        std::map<member_id, std::string> all;
        for (const auto* name : {"answers", "refuses", "dies", "hangs"})
            all[find(domain, name).id] = name;
        return all;
    }();

    std::map<std::string, ipc::answer> by_name;
    for (auto& answer : domain->actions().request_all("ping", "x", 3s))
        by_name[names.at(answer.peer.id)] = std::move(answer);

    CHECK(by_name.at("answers").what == verdict::replied);
    CHECK(by_name.at("refuses").what == verdict::refused);
    CHECK_THAT(std::string{by_name.at("refuses").text()},
               Catch::Contains("offers no action \"ping\""));
    CHECK(by_name.at("dies").what == verdict::died);
    CHECK(by_name.at("hangs").what == verdict::timed_out);
}

TEST_CASE("the death of a peer ends a request long before its timeout", "[actions]")
{
    scratch_domain domain;
    member_process dies{"dies"};
    dies.tell("offer-death ping");
    const auto asked_at = steady_clock::now();

    const auto answer = domain->actions().request(find(domain, "dies"), "ping", "", 60s);

    CHECK(answer.what == verdict::died);
    CHECK(steady_clock::now() - asked_at < 60s);
}

TEST_CASE("members ask each other, also inside a handler and without a primary's help", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    member_process b{"b"};
    b.tell("offer ping");
    a.tell("offer-relay relay b");

    const auto answer = domain->actions().request(find(domain, "a"), "relay", "", 10s);

    CHECK(answer.text() == "relayed pong ");
}

TEST_CASE("payloads up to 64 KiB arrive whole", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    const auto size = GENERATE(0u, 1u, 890u, 891u, 896u, 897u, 4096u, 65531u);
    const std::string payload(size, 'x');

    const auto answer = domain->actions().request(find(domain, "a"), "ping", payload, 10s);

    CHECK(answer.text() == "pong " + payload);
}

TEST_CASE("no message is lost by answering, refusing, timing out or dying", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    const auto to = find(domain, "a");
    for (int i = 0; i != 2000; ++i)
        REQUIRE(domain->actions().request(to, i % 3 == 0 ? "nothing" : "ping", "x", 10s).what !=
                verdict::timed_out);
    a.kill();
    REQUIRE(eventually([&] { return !domain->actions().find_member("a"); }));
    CHECK(domain->actions().request(to, "ping").what == verdict::died);

    REQUIRE(eventually([&] { return domain.audit_of("cohort.messages").free() == 1024; }));
    CHECK(domain.audit().clean());
}

TEST_CASE("messages that an idle member caches are there for who finds none", "[actions]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    CHECK(domain->actions().request(find(domain, "a"), "ping", "x", 10s).what == verdict::replied);
    auto pool = domain->find_mempool("cohort.messages").value();
    const bool has_caches = pool.layout().cache_size != 0;  // not with the thread sanitizer
    REQUIRE(
        eventually([&] { return domain.audit_of("cohort.messages").cached != 0 || !has_caches; }));
    std::vector<void*> all;

    CHECK(eventually([&] {
        for (auto* one = pool.get(); one; one = pool.get())
            all.push_back(one);
        return all.size() == pool.capacity();
    }));

    pool.put_bulk(all);
}

TEST_CASE("a name is registered once, is visible in the region, and goes with off", "[actions]")
{
    scratch_domain domain;
    auto& actions = domain->actions();
    const auto offers = [&] {
        int count = 0;
        for (const auto& offer : domain->region().members.members[domain->self().id].offers)
            count += offer == "stats";
        return count;
    };

    actions.on("stats", [](ipc::message&) {});

    CHECK(offers() == 1);
    CHECK_THROWS_WITH(actions.on("stats", [](ipc::message&) {}), Catch::Contains("registered"));
    CHECK_THROWS_AS(actions.on(std::string(64, 'x'), [](ipc::message&) {}), error);
    CHECK(actions.off("stats"));
    CHECK_FALSE(actions.off("stats"));
    CHECK(offers() == 0);
}
