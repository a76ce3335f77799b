// The scenarios "spoiler", whose dispatcher hangs and who writes over its own inbox when it is told
// to, and "mend", which makes the inbox anew when the other is dead. The messages in it are those
// of a third, who lives on: the death of their sender would give them back, too.

#include "cohort/ipc/message.hpp"
#include "fault_member.hpp"
#include "support/conversation.hpp"
#include "support/eventually.hpp"

#include <atomic>
#include <thread>

namespace cohort::fault_member {

void spoil_inbox(const arguments& given)
{
    const auto domain = join(given);
    std::atomic<bool> hangs{false};
    domain->actions().on("hang", [&](ipc::message&) {
        hangs = true;
        std::this_thread::sleep_for(std::chrono::hours{1});
    });
    domain->actions().send(domain->self(), "hang");
    require(test::eventually([&] { return hangs.load(); }), "the handler is not called");
    test::say("holding");
    static_cast<void>(test::hear());
    auto* zone = domain->segments().find(zone_kind::ring,
                                         "cohort.inbox." + std::to_string(domain->self().id));
    static_cast<ring_layout*>(zone->data())->mask = ~0u;
    test::say("spoilt");
    static_cast<void>(test::hear());
}

void mend_inbox(const arguments& given)
{
    const auto domain = join(given);
    see_one_reaped(*domain);
}

}  // namespace cohort::fault_member
