// scribbler DOMAIN NAME SEED: a member that never reads its inbox. Says "ready"; when told a word,
// writes over the inbox at random until it is killed: "slots", "positions" (and who holds a side,
// but no lane that there is), "header", or "all" of it. Says "scribbled" after the first 10,000
// words. Told "twice", it puts what lies in the first slot into the second as well, says so, and
// leaves at the next word.

#include "cohort/ipc/message.hpp"
#include "cohort/ring/ring_layout.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <cstddef>
#include <cstring>
#include <random>
#include <string>

namespace {

using namespace cohort;

struct part {
    std::size_t from = 0;
    std::size_t to = 0;
};

/// Whoever writes the name of a lane that lives there holds that side in its name; see the failure
/// model.
bool is_owner_word(std::size_t at)
{
    return at == offsetof(ring_layout, producer) + offsetof(ring_side, word) ||
           at == offsetof(ring_layout, consumer) + offsetof(ring_side, word);
}

part part_of(const std::string& word, std::size_t bytes)
{
    if (word == "header")
        return {0, offsetof(ring_layout, producer)};
    if (word == "positions")
        return {offsetof(ring_layout, producer), sizeof(ring_layout)};
    return {word == "slots" ? sizeof(ring_layout) : 0, bytes};
}

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 4)
        return 2;
    const auto domain = secondary::attach(argv[1], 30s, argv[2], ipc::dispatching::by_caller);
    auto* zone = domain->segments().find(zone_kind::ring,
                                         "cohort.inbox." + std::to_string(domain->self().id));
    auto* inbox = static_cast<std::byte*>(zone->data());
    std::mt19937_64 random{std::stoull(argv[3])};
    test::say("ready");
    const auto wish = test::hear();
    if (wish == "twice") {
        std::memcpy(inbox + sizeof(ring_layout) + 8, inbox + sizeof(ring_layout), 8);
        test::say("scribbled");
        static_cast<void>(test::hear());
        return 0;
    }
    const auto [from, to] = part_of(wish, zone->length);
    for (std::size_t round = 0;; ++round) {
        // A word that means nothing, one that stands elsewhere in the inbox, or a small number.
        std::uint64_t word = random();
        if (random() % 4 == 0)
            std::memcpy(&word, inbox + random() % (zone->length / 8) * 8, sizeof word);
        else if (random() % 4 == 0)
            word %= 200;
        const auto at = from + random() % ((to - from) / 8) * 8;
        if (is_owner_word(at))
            word |= 0x8000;
        std::memcpy(inbox + at, &word, sizeof word);
        if (round == 10'000)
            test::say("scribbled");
    }
}
