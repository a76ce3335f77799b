// A member that allocates, resizes and frees heap blocks at random, hands some to others over the
// ring "blocks", and checks the contents of each block before it lets go of it.
// Usage: churner DOMAIN NAME SEED OPERATIONS. Says "churning", and "done" or what it found.

#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"

#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace cohort;

/// At the start of each block: what is in the rest of it.
struct label {
    std::size_t bytes;
    std::uint64_t seed;
};

std::byte content(const label& of, std::size_t at) noexcept
{
    return static_cast<std::byte>((of.seed + at) * 0x9e3779b97f4a7c15u >> 56);
}

void write(void* block, const label& what)
{
    std::memcpy(block, &what, sizeof what);
    auto* bytes = static_cast<std::byte*>(block);
    for (std::size_t i = sizeof what; i < what.bytes; ++i)
        bytes[i] = content(what, i);
}

/// The first `most` bytes are as they were written.
void check(const void* block, std::size_t most)
{
    label what{};
    std::memcpy(&what, block, sizeof what);
    const auto* bytes = static_cast<const std::byte*>(block);
    for (std::size_t i = sizeof what; i < std::min(what.bytes, most); ++i)
        if (bytes[i] != content(what, i))
            throw std::runtime_error{"byte " + std::to_string(i) + " of a block of " +
                                     std::to_string(what.bytes) + " has changed"};
}

class churner {
public:
    churner(domain& in, std::uint64_t seed)
        : heap_{in.heap()}
        , others_{in.find_ring<void*>("blocks").value()}
        , random_{seed}
    {
    }

    void step()
    {
        switch (random_() % 8) {
        case 0:
        case 1:
        case 2: allocate(); break;
        case 3:
        case 4: release(take_own()); break;
        case 5: resize(); break;
        case 6:
            if (void* block = take_own(); block && !others_.enqueue(block))
                release(block);
            break;
        case 7:
            if (void* block = nullptr; others_.dequeue(block))
                release(block);
            break;
        }
    }
    void finish()
    {
        while (!own_.empty())
            release(take_own());
    }

private:
    [[nodiscard]] std::size_t some_bytes()
    {
        return sizeof(label) + random_() % (random_() % 16 == 0 ? 60'000 : 2'000);
    }
    void allocate()
    {
        const label what{some_bytes(), random_()};
        const std::size_t alignment = std::size_t{16} << random_() % 5;
        void* block = heap_.allocate({.bytes = what.bytes, .alignment = alignment});
        if (!block)
            throw std::runtime_error{heap::last_failure().sentence};
        if (reinterpret_cast<std::uintptr_t>(block) % alignment != 0)
            throw std::runtime_error{"a block is not aligned"};
        write(block, what);
        own_.push_back(block);
    }
    void resize()
    {
        void* block = take_own();
        if (!block)
            return;
        const label what{some_bytes(), random_()};
        void* moved = heap_.realloc(block, what.bytes);
        if (!moved)
            throw std::runtime_error{heap::last_failure().sentence};
        check(moved, what.bytes);
        write(moved, what);
        own_.push_back(moved);
    }
    void release(void* block)
    {
        if (!block)
            return;
        check(block, ~std::size_t{0});
        if (!heap_.free(block))
            throw std::runtime_error{heap::last_failure().sentence};
    }
    [[nodiscard]] void* take_own()
    {
        if (own_.empty())
            return nullptr;
        std::swap(own_[random_() % own_.size()], own_.back());
        void* block = own_.back();
        own_.pop_back();
        return block;
    }

    heap heap_;
    ring<void*> others_;
    std::mt19937_64 random_;
    std::vector<void*> own_;
};

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 5)
        return 2;
    try {
        const auto domain = secondary::attach(argv[1], 10s, argv[2]);
        churner at_work{*domain, std::stoull(argv[3])};
        const auto operations = std::stoull(argv[4]);
        for (std::uint64_t i = 0; i != operations; ++i) {
            if (i == 1000)
                test::say("churning");
            at_work.step();
        }
        at_work.finish();
        test::say("done");
    } catch (const std::exception& failure) {
        test::say(failure.what());
        return 1;
    }
    return 0;
}
