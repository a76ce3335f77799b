// A member that leaves, or whose attach fails after it had a slot: it holds its lock byte until
// nothing in the region names it any more.

#include "cohort/domain/rendezvous.hpp"
#include "cohort/ipc/attach.hpp"
#include "cohort/ipc/socket.hpp"
#include "fault/faulty_domain.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "support/stopped.hpp"

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <sys/socket.h>

namespace cohort::test {
namespace {

/// A domain whose only primary is stopped, so that nobody but the member itself empties its slot.
/// The test maps the region for writing and plays a reaper that does not let go.
class unattended_domain {
public:
    unattended_domain() : region_{take_region()} { region_holder_ = living_lane(); }

    [[nodiscard]] living_domain& domain() noexcept { return domain_; }
    [[nodiscard]] const region_files& files() const noexcept { return region_.files(); }
    [[nodiscard]] region_layout& region() noexcept { return region_.layout(); }

    void stop_primary() { stop(domain_.primary()); }
    void hold_recovery_lock()
    {
        const auto nobody_died = [](lane_id) { return false; };
        REQUIRE(region().recovery.lock.lock(region_holder_, deadline_in(patience), nobody_died) ==
                lock_result::acquired);
    }
    void let_go() { region().recovery.lock.unlock(); }

    [[nodiscard]] member_state state_of(member_id member)
    {
        return region().members.members[member].word().state;
    }
    [[nodiscard]] bool byte_is_held(member_id member) const
    {
        const rendezvous place{domain_.name()};
        return lock_description{place.lock_file(), lock_description::open_mode::existing}.is_locked(
            lock_description::member_byte(member));
    }
    [[nodiscard]] std::size_t lanes_of(member_id member)
    {
        std::size_t count = 0;
        for (const auto& lane : region().members.lanes)
            count += lane.word().state != lane_state::free && lane.word().member == member ? 1 : 0;
        return count;
    }

private:
    [[nodiscard]] region_mapping take_region()
    {
        const auto until = deadline_in(patience);
        const rendezvous place{domain_.name()};
        const auto connection = ipc::connect_to(place.member_socket(1), until);
        return ipc::receive_region(connection.get(), place, ipc::wire::attach_as::adopter, "test",
                                   {}, map_access::read_write, until);
    }
    [[nodiscard]] lane_id living_lane()
    {
        for (lane_id lane = 1; lane != max_lanes; ++lane)
            if (region().members.lanes[lane].word().state == lane_state::live)
                return lane;
        throw std::runtime_error{"the primary has no lane"};
    }

    living_domain domain_;
    region_mapping region_;
    lane_id region_holder_ = 0;
};

/// Listens in the primary's place, hands out the region and welcomes nobody.
class silent_primary {
public:
    explicit silent_primary(unattended_domain& served)
        : served_{served}
        , listener_{ipc::listen_at(served.domain().socket())}
    {
    }

    void admit_without_welcome()
    {
        REQUIRE(ipc::wait_readable(listener_.get(), deadline_in(patience)));
        connection_ = file_descriptor{::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        REQUIRE(connection_);
        alignas(8) std::array<std::byte, ipc::wire::max_bytes> buffer;
        REQUIRE(ipc::wait_readable(connection_.get(), deadline_in(patience)));
        static_cast<void>(ipc::receive_message(connection_.get(), buffer));
        const auto& header = served_.region().header;
        const auto& files = served_.files();
        const ipc::wire::attach_reply yes{.segment_lists = 1,
                                          .layout_hash = header.layout_hash,
                                          .window_base = header.window_base,
                                          .window_bytes = header.window_bytes,
                                          .region_bytes = header.region_bytes,
                                          .sentence = {}};
        REQUIRE(ipc::send_message(
            connection_.get(), ipc::wire::bytes_of(yes),
            std::array{files.control.get(), files.life.get(), files.segments[0].get()}));
    }

private:
    unattended_domain& served_;
    file_descriptor listener_;
    file_descriptor connection_;
};

constexpr member_id newcomer = 2;  // the primary is member 1

void check_that_it_settles_under_its_lock(unattended_domain& with)
{
    REQUIRE(eventually([&] { return with.state_of(newcomer) == member_state::dying; }));
    const bool held = with.byte_is_held(newcomer);
    const bool still_dying = with.state_of(newcomer) == member_state::dying;
    with.let_go();
    CHECK((held && still_dying));
}

void check_that_nothing_is_left(unattended_domain& with)
{
    CHECK(with.state_of(newcomer) == member_state::empty);
    CHECK_FALSE(with.byte_is_held(newcomer));
    CHECK(with.lanes_of(newcomer) == 0);
    const auto report = audit(audited(with.region()));
    CHECK(report.clean());
    CHECK_FALSE(std::filesystem::exists(with.domain().directory() / "member-2.sock"));
}

}  // namespace

TEST_CASE("a member that leaves holds its lock byte until it has settled", "[attach][leave]")
{
    unattended_domain with;
    auto member = child_process::spawn(probe, {with.domain().name(), "1", "--hold"});
    member.await("attached", patience);
    with.stop_primary();
    with.hold_recovery_lock();

    member.tell("leave");

    check_that_it_settles_under_its_lock(with);
    CHECK(member.wait(patience) == exit_status{});
    check_that_nothing_is_left(with);
}

TEST_CASE("a member that is not welcomed in time gives slot and lock byte back itself",
          "[attach][leave][refusal]")
{
    unattended_domain with;
    with.stop_primary();
    with.hold_recovery_lock();
    silent_primary instead{with};
    attempt tried{probe, {with.domain().name(), "1", "--timeout-ms", "500"}};
    instead.admit_without_welcome();

    check_that_it_settles_under_its_lock(with);

    check_refused(tried.wait(), errc::timed_out, {"did not welcome member 2 in time"});
    check_that_nothing_is_left(with);
}

TEST_CASE("a slot whose attach failed serves the next newcomer", "[attach][leave][refusal]")
{
    unattended_domain with;
    const auto generation = with.region().members.members[newcomer].word().generation;
    with.stop_primary();
    {
        const auto kept = with.domain().directory() / "kept.sock";
        std::filesystem::rename(with.domain().socket(), kept);
        silent_primary instead{with};
        attempt tried{probe, {with.domain().name(), "1", "--timeout-ms", "100"}};
        instead.admit_without_welcome();
        check_refused(tried.wait(), errc::timed_out, {"did not welcome"});
        std::filesystem::rename(kept, with.domain().socket());
    }
    check_that_nothing_is_left(with);
    with.domain().primary().kill(SIGCONT);

    auto next = child_process::spawn(probe, {with.domain().name(), "1", "--hold"});
    next.await("attached", patience);

    CHECK(with.state_of(newcomer) == member_state::live);
    CHECK(with.region().members.members[newcomer].word().generation == generation + 2);
    CHECK(live_members(with.region()) == 2);
}

}  // namespace cohort::test
