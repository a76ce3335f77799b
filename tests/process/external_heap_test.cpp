// A heap over memory that the users map themselves, with several processes and deaths among them.

#include "cohort/base/error.hpp"
#include "process/shown_by.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/shared_piece.hpp"

#include <optional>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// A domain with an external heap "own", and a file for its memory that nobody has mapped yet.
struct with_heap {
    scratch_directory files{};
    std::string file = (files.path() / "piece").string();
    std::optional<shared_piece> piece{};  // outlives the domain
    scratch_domain domain{};
    heap own{domain->create_heap("own")};

    void map() { piece.emplace(file); }
    [[nodiscard]] bool can_remove()
    {
        try {
            own.remove_memory(piece->bytes());
            return true;
        } catch (const error& refused) {
            CHECK(refused.reason() == errc::in_use);
            return false;
        }
    }
};

}  // namespace

TEST_CASE("external memory is used by members that attached it, and refused to others",
          "[heap][process]")
{
    with_heap given;
    given.map();
    given.own.add_memory(given.piece->bytes());
    member_process other{"other"};
    other.tell("offer-free free own");
    auto* block = given.own.malloc(1000);
    const auto address = std::to_string(reinterpret_cast<std::uintptr_t>(block));
    const auto to = given.domain->actions().find_member("other").value();
    const auto freeing = [&] {
        return std::string{given.domain->actions().request(to, "free", address, 10s).text()};
    };

    CHECK(freeing() == "not attached");
    other.tell("map " + given.file);
    CHECK(freeing() == "not attached");
    other.tell("attach-memory own");
    CHECK(freeing() == "freed");
    CHECK(freeing() == "no block");
    other.tell("allocate-in own routes 100");
    CHECK_FALSE(given.own.find_fault().has_value());
    CHECK(given.own.layout().counters.used_blocks == 1);
    other.tell("detach-memory own");
    CHECK(freeing() == "not attached");
}

TEST_CASE("a member killed with an external heap's lock is followed by one that has it attached",
          "[heap][process]")
{
    with_heap given;
    given.map();
    given.own.add_memory(given.piece->bytes());
    member_process bystander{"bystander"};  // may be the reaper, and has nothing mapped
    member_process victim{"victim"};
    victim.tell("map " + given.file);
    victim.tell("attach-memory own");
    victim.tell("allocate-in own mortal 500");
    victim.tell("hold own");

    victim.kill();

    auto* block = given.own.malloc(100);
    REQUIRE(block);
    CHECK(given.own.layout().repairs == 1);
    CHECK(given.own.free(block));
    CHECK(eventually([&] {
        given.own.trim();  // pays what a reaper without the memory has left owing
        return given.own.layout().counters.used_blocks == 0;
    }));
    CHECK_FALSE(given.own.find_fault().has_value());
}

TEST_CASE("the attachment of a killed member ends with it", "[heap][process]")
{
    with_heap given;
    given.map();
    given.own.add_memory(given.piece->bytes());
    member_process victim{"victim"};
    victim.tell("map " + given.file);
    victim.tell("attach-memory own");
    REQUIRE_FALSE(given.can_remove());

    victim.kill();

    CHECK(eventually([&] { return given.can_remove(); }));
    CHECK(given.domain->destroy_heap("own"));
    // The slot's next member has nothing attached by that.
    given.own = given.domain->create_heap("own");
    given.own.add_memory(given.piece->bytes());
    member_process next{"next"};
    next.tell("offer-free free own");
    const auto to = given.domain->actions().find_member("next").value();
    CHECK(given.domain->actions().request(to, "free", "64", 10s).text() == "not attached");
}

TEST_CASE("memory that another member has attached stays until that one detaches or leaves",
          "[heap][process]")
{
    with_heap given;
    given.map();
    given.own.add_memory(given.piece->bytes());
    member_process other{"other"};
    other.tell("map " + given.file);
    other.tell("attach-memory own");
    REQUIRE_FALSE(given.can_remove());

    SECTION("detaches")
    {
        other.tell("detach-memory own");
        CHECK(given.can_remove());
    }
    SECTION("leaves")
    {
        other.leave();
        CHECK(given.can_remove());
    }
}

TEST_CASE("blocks that go with a member are released by it, or by the next caller",
          "[heap][process]")
{
    with_heap given;
    given.map();
    given.own.add_memory(given.piece->bytes());
    member_process guest{"guest"};
    guest.tell("map " + given.file);
    guest.tell("attach-memory own");
    guest.tell("allocate-in own mortal 500");
    guest.tell("allocate-in own routes 500");
    const auto& counters = given.own.layout().counters;

    SECTION("by it, when it leaves")
    {
        guest.leave();
        CHECK(counters.used_blocks == 1);
    }
    SECTION("by the next caller, when it had detached before")
    {
        guest.tell("detach-memory own");
        guest.leave();
        CHECK(counters.used_blocks == 2);
        CHECK(given.own.trim());
        CHECK(counters.used_blocks == 1);
        CHECK(given.own.layout().owed == 0);
    }
    CHECK_FALSE(given.own.find_fault().has_value());
}

TEST_CASE("what dies with the last member that had the memory is found by the next that attaches",
          "[heap][process]")
{
    with_heap given;
    member_process victim{"victim"};
    victim.tell("map " + given.file);
    victim.tell("add-memory own");
    victim.tell("allocate-in own routes 1000");
    victim.tell("allocate-in own mortal 500");
    victim.tell("hold own");

    victim.kill();

    CHECK(eventually([&] { return given.own.layout().owed != 0; }));
    CHECK(eventually([&] { return !given.domain->actions().find_member("victim"); }));
    CHECK(given.own.malloc(10) == nullptr);
    given.map();
    given.own.attach_memory(given.piece->bytes());
    CHECK(given.own.layout().owed == 0);
    CHECK(given.own.layout().counters.used_blocks == 1);
    CHECK(given.own.layout().repairs == 1);
    CHECK_FALSE(given.own.find_fault().has_value());
}

TEST_CASE("memory that is lost with all its members leaves a heap that can be emptied",
          "[heap][process]")
{
    with_heap given;
    member_process victim{"victim"};
    victim.tell("map " + given.file);
    victim.tell("add-memory own");
    victim.tell("allocate-in own mortal 500");
    const std::span lost{reinterpret_cast<std::byte*>(piece_address), piece_bytes};
    CHECK_THROWS_WITH(given.own.forget_memory(lost), Catch::Contains("attached"));

    victim.kill();

    CHECK(eventually([&] {  // as soon as the victim has been reaped
        try {
            given.own.forget_memory(lost);
            return true;
        } catch (const error& refused) {
            return refused.reason() != errc::in_use;
        }
    }));
    CHECK_FALSE(given.own.find_fault().has_value());
    CHECK(given.domain->destroy_heap("own"));
}

TEST_CASE("tools and audits show an external heap and touch none of its memory", "[heap][process]")
{
    with_heap given;
    given.map();
    given.own.add_memory(given.piece->bytes());
    REQUIRE(given.own.malloc(1000));

    CHECK_THAT(shown_by({"heaps"}), Catch::Contains("own") && Catch::Contains("external"));
    CHECK_THAT(shown_by({"blocks"}), Catch::Contains("external, 1048480 bytes in 1 arenas"));
    CHECK_THAT(shown_by({"zones"}), Catch::Contains("external"));
    static_cast<void>(shown_by({"audit"}));
    CHECK(given.domain.audit().clean());
}

}  // namespace cohort::test
