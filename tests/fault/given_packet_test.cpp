// A packet is given to a member that has died, and been reaped, between the look at it and the
// gift.

#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <csignal>

#include <catch2/catch.hpp>

using namespace cohort;
using test::eventually;
using test::member_process;
using test::scratch_domain;

namespace {

/// A member that stops before it gives, and goes on to do it when "heir" is no more.
class late_giver {
public:
    /// `then`: what becomes of it after the gift.
    explicit late_giver(const std::string& then)
        : giver_{test::child_process::spawn("member", {"scratch", "giver"},
                                            {"COHORT_FAULT=mbuf.giving:1:stop" + then})}
    {
        giver_.await("ready", test::patience);
        member_process heir{"heir"};
        giver_.tell("take p 1");
        giver_.await("done", test::patience);
        giver_.tell("give heir");
        await_stop(giver_);
        heir.kill();
        REQUIRE(eventually([&] { return !domain_->actions().find_member("heir"); }));
        REQUIRE(domain_.audit_of("p").held == 1);
        giver_.kill(SIGCONT);
    }

    [[nodiscard]] test::child_process& process() { return giver_; }
    /// The packet is back, and nothing else is wrong.
    [[nodiscard]] bool is_back()
    {
        return eventually([&] { return domain_.audit_of("p").in_pool == 64; }) &&
               domain_.audit().clean();
    }

private:
    scratch_domain domain_;
    pktmbuf_pool pool_{domain_->create_pktmbuf_pool("p", {.count = 64, .cache_size = 0})};
    test::child_process giver_;
};

}  // namespace

TEST_CASE("a packet given to a member that is dead by then is released", "[fault][custody]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    late_giver giver{""};
    giver.process().await("done", test::patience);
    CHECK(giver.is_back());
}

TEST_CASE("so is one whose giver dies before it has seen that", "[fault][custody]")
{
    COHORT_SKIP_WITHOUT_FAULT_POINTS();
    late_giver giver{",mbuf.given"};
    REQUIRE(giver.process().wait(test::patience));
    CHECK(giver.is_back());
}
