// A member that does what a test tells it, one line at a time. Usage: member DOMAIN NAME
//
//   offer ACTION            answers requests for it with "pong <payload>"
//   offer-death ACTION      kills itself inside the handler
//   offer-hang ACTION       sleeps in the handler until killed
//   offer-mirror ACTION     answers with the payload and the descriptors that came
//   offer-large ACTION N    answers with N bytes
//   ask MEMBER ACTION N     asks so often and wants a reply each time
//   offer-relay ACTION TO   answers with what member TO answers to "ping"
//   take POOL N             gets N packets and keeps them
//   get POOL N              gets N objects of a plain pool and keeps them
//   chain POOL BYTES        gets one packet of so many bytes and keeps it
//   receive RING N          takes exactly N packets from a ring and keeps them
//   pass RING               puts everything it keeps into a ring
//   free                    frees everything it keeps
//   destroy RING
//   give MEMBER             gives all of it to another member
//   entrust                 gives all of it to the domain, which keeps it
//   give-cache POOL N       leaves at least N free packets in its cache
//   fill-own-cache POOL N   gets N objects by a cache of its own, which holds as many again
//   grow NAME BYTES         reserves a memzone, which grows the domain if need be
//   allocate TYPE BYTES     takes a heap block; "mortal" as type: one that goes with this member
//   offer-free ACTION [HEAP]  frees the heap block whose address it is asked about
//   map FILE                maps it as the piece of memory that a test brings
//   attach-memory HEAP, detach-memory HEAP
//   add-memory HEAP         that piece
//   allocate-in HEAP TYPE BYTES
//   hold HEAP               takes the heap's lock and keeps it
//   create-totals NAME      makes the shared object
//   hold-totals NAME        locks it, adds to the first of its sums and keeps the lock
//   release-totals NAME     adds to the second and unlocks
//   count-totals NAME       counts under its lock until killed
//   lock-memory             locks all of its memory, now and later, as it is used
//   limit-files BYTES       lowers RLIMIT_FSIZE to that
//   team LCORES NAME N      each lcore adds N to its own slot of the lane variable NAME, by ones
//   await-shut-down         says "waiting", and leaves when the primary asks all members to
//   exec                    becomes another program without leaving
//   leave                   leaves in an orderly way
// Each answers "done" or "failed: why".

#include "cohort/base/error.hpp"
#include "cohort/domain/lane_team.hpp"
#include "cohort/domain/lane_variable.hpp"
#include "cohort/pool/pool_cache.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/conversation.hpp"
#include "support/shared_piece.hpp"
#include "support/totals.hpp"

#include <csignal>
#include <future>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using namespace cohort;

class obedient_member {
public:
    explicit obedient_member(std::unique_ptr<secondary::attachment> domain)
        : domain_{std::move(domain)}
    {
    }

    /// False when it is to leave.
    bool obey(const std::string& line)
    {
        std::istringstream words{line};
        std::string verb;
        std::string name;
        words >> verb >> name;
        if (verb == "leave")
            return false;
        if (verb == "await-shut-down")
            return !await_shut_down();
        if (verb == "exec")
            ::execl("/bin/sleep", "sleep", "60", nullptr);
        else if (verb.starts_with("offer"))
            offer(verb, name, words);
        else if (verb == "ask")
            ask(name, words);
        else if (verb == "take")
            take(name, number(words));
        else if (verb == "get")
            get(name, number(words));
        else if (verb == "chain")
            kept_.push_back(pool(name).alloc_chain(number(words)));
        else if (verb == "receive")
            receive(name, number(words));
        else if (verb == "pass")
            pass(name);
        else if (verb == "free")
            free_all();
        else if (verb == "destroy")
            domain_->destroy_ring(name);
        else if (verb == "give")
            give(name);
        else if (verb == "entrust")
            entrust();
        else if (verb == "give-cache")
            fill_cache(name, number(words));
        else if (verb == "fill-own-cache")
            fill_own_cache(name, number(words));
        else if (verb == "grow")
            domain_->reserve_memzone(name, number(words));
        else if (verb == "release")
            domain_->release_memzone(name);
        else if (verb == "allocate")
            allocate(domain_->heap(), name, number(words));
        else if (verb == "allocate-in")
            allocate_in(name, words);
        else if (verb == "map")
            piece_.emplace(name);
        else if (verb == "add-memory")
            domain_->find_heap(name).value().add_memory(piece_.value().bytes());
        else if (verb == "attach-memory")
            domain_->find_heap(name).value().attach_memory(piece_.value().bytes());
        else if (verb == "detach-memory")
            domain_->find_heap(name).value().detach_memory(piece_.value().bytes());
        else if (verb == "hold")
            hold(domain_->find_heap(name).value());
        else if (verb == "create-totals")
            domain_->create<test::totals>(name);
        else if (verb.ends_with("-totals"))
            use_totals(verb, *domain_->find<test::totals>(name));
        else if (verb == "lock-memory")
            lock_memory();
        else if (verb == "limit-files")
            limit_files(std::stoul(name));
        else if (verb == "team")
            work_as_team(name, words);
        else
            throw std::runtime_error{"unknown: " + line};
        return true;
    }

private:
    static std::size_t number(std::istringstream& words)
    {
        std::size_t value = 0;
        words >> value;
        return value;
    }
    pktmbuf_pool pool(const std::string& name) { return domain_->find_pktmbuf_pool(name).value(); }
    ring<mbuf*> find(const std::string& name) { return domain_->find_ring<mbuf*>(name).value(); }

    static void use_totals(const std::string& verb, test::totals& shared)
    {
        if (verb == "hold-totals") {
            static_cast<void>(shared.lock.lock(deadline_in(10s)));
            test::totals::add(shared.in);
        } else if (verb == "release-totals") {
            test::totals::add(shared.out);
            shared.lock.unlock();
        }
        while (verb == "count-totals") {
            const robust_guard mine{shared.lock, deadline_in(60s)};
            if (mine.taken_over())
                shared.repair();
            shared.count_one();
        }
    }

    void offer(const std::string& verb, const std::string& action, std::istringstream& words)
    {
        std::string peer;
        words >> peer;
        domain_->actions().on(action, [this, verb, peer](ipc::message& received) {
            if (verb == "offer-death")
                ::kill(::getpid(), SIGKILL);
            if (verb == "offer-hang")
                std::this_thread::sleep_for(60s);
            if (verb == "offer-mirror") {
                std::vector<int> fds;
                for (const auto& fd : received.fds())
                    fds.push_back(fd.get());
                received.reply(received.text(), fds);
                return;
            }
            if (verb == "offer-large") {
                received.reply(std::string(std::stoul(peer), 'l'));
                return;
            }
            if (verb == "offer-free") {
                auto* block = reinterpret_cast<void*>(std::stoull(std::string{received.text()}));
                auto from = peer.empty() ? domain_->heap() : domain_->find_heap(peer).value();
                const bool freed = from.free(block);
                received.reply(freed                                               ? "freed"
                               : heap::last_failure().reason == errc::not_attached ? "not attached"
                                                                                   : "no block");
                return;
            }
            if (verb == "offer-relay") {
                const auto to = domain_->actions().find_member(peer);
                received.reply("relayed " +
                               std::string{domain_->actions().request(*to, "ping").text()});
                return;
            }
            received.reply("pong " + std::string{received.text()});
        });
    }

    void ask(const std::string& to, std::istringstream& words)
    {
        std::string action;
        words >> action;
        for (auto left = number(words); left != 0; --left) {
            const auto given = domain_->actions().request(ipc::target{to}, action, "asked", 30s);
            if (given.what != ipc::verdict::replied)
                throw std::runtime_error{"no reply: " + std::string{to_text(given.what)}};
        }
    }

    void allocate_in(const std::string& name, std::istringstream& words)
    {
        std::string type;
        words >> type;
        allocate(domain_->find_heap(name).value(), type, number(words));
    }

    void hold(const heap& from)
    {
        auto& lock = const_cast<heap_layout&>(from.layout()).lock;
        static_cast<void>(
            lock.lock(domain_->members().lane(), deadline_in(1s), [](lane_id) { return false; }));
    }

    static void allocate(heap from, const std::string& type, std::size_t bytes)
    {
        const bool mortal = type == "mortal";
        if (!from.allocate({.bytes = bytes,
                            .type = from.type(type),
                            .kept = mortal ? lifetime::member : lifetime::domain}))
            throw std::runtime_error{heap::last_failure().sentence};
    }

    void take(const std::string& name, std::size_t count)
    {
        std::vector<mbuf*> packets(count);
        if (!pool(name).alloc_bulk(packets))
            throw std::runtime_error{"the pool is empty"};
        kept_.insert(kept_.end(), packets.begin(), packets.end());
    }

    void receive(const std::string& name, std::size_t count)
    {
        auto from = find(name);
        for (std::size_t got = 0; got != count;) {
            mbuf* packet = nullptr;
            if (!from.dequeue(packet))
                continue;
            kept_.push_back(packet);
            ++got;
        }
    }

    void pass(const std::string& name)
    {
        if (find(name).enqueue_bulk(kept_) != kept_.size())
            throw std::runtime_error{"the ring is full"};
        kept_.clear();
    }

    void free_all()
    {
        free_bulk(kept_);
        kept_.clear();
    }

    void give(const std::string& name)
    {
        const auto to = domain_->actions().find_member(name);
        for (auto* packet : kept_)
            if (!to || !domain_->give(*packet, *to))
                throw std::runtime_error{"no such member lives"};
        kept_.clear();
    }

    void entrust()
    {
        for (auto* packet : kept_)
            keep(*packet);
        kept_.clear();
    }

    void fill_cache(const std::string& name, std::size_t count)
    {
        std::vector<mbuf*> packets(count);
        if (!pool(name).alloc_bulk(packets))
            throw std::runtime_error{"the pool is empty"};
        for (auto* packet : packets)
            free(packet);
    }

    void get(const std::string& name, std::size_t count)
    {
        std::vector<void*> objects(count);
        if (!domain_->find_mempool(name).value().get_bulk(objects))
            throw std::runtime_error{"the pool is empty"};
    }

    void fill_own_cache(const std::string& name, std::size_t count)
    {
        auto from = pool(name).objects();
        own_cache_ = std::make_unique<pool_cache>(from, static_cast<std::uint32_t>(count));
        std::vector<void*> objects(count);
        if (!own_cache_->get_bulk(objects))
            throw std::runtime_error{"the pool is empty"};
        for (auto* object : objects)
            kept_.push_back(static_cast<mbuf*>(object));
    }

    /// Past the sanitizers, whose mlockall does nothing.
    static void lock_memory()
    {
        if (::syscall(SYS_mlockall, MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
            throw std::runtime_error{"mlockall"};
    }

    static void limit_files(std::size_t bytes)
    {
        const rlimit limit{.rlim_cur = bytes, .rlim_max = bytes};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0)
            throw std::runtime_error{"setrlimit"};
    }

    bool await_shut_down()
    {
        std::promise<void> asked;
        domain_->on_shut_down([&] { asked.set_value(); });
        test::say("waiting");
        const bool heard = asked.get_future().wait_for(60s) == std::future_status::ready;
        domain_->actions().off(ipc::shut_down_action);
        return heard;
    }

    void work_as_team(const std::string& lcores, std::istringstream& words)
    {
        std::string variable;
        words >> variable;
        const auto count = number(words);
        auto sums = lane_variable<std::uint64_t>::find(*domain_, variable).value();
        lane_team team{*domain_, parse_lcores("team", lcores)};
        team.launch_all([&](std::stop_token) {
            for (std::size_t i = 0; i != count; ++i)
                *sums.mine() += 1;
            return 0;
        });
        if (!team.wait_all(deadline_in(30s)))
            throw std::runtime_error{"the team does not end"};
    }

    std::optional<test::shared_piece> piece_;  // outlives the attachment, which may still use it
    std::unique_ptr<secondary::attachment> domain_;
    std::vector<mbuf*> kept_;
    std::unique_ptr<pool_cache> own_cache_;  // goes before the attachment
};

}  // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return 2;
    try {
        obedient_member member{secondary::attach(argv[1], 10s, argv[2])};
        test::say("ready");
        for (auto line = test::hear(); !line.empty(); line = test::hear()) {
            try {
                if (!member.obey(line))
                    break;
                test::say("done");
            } catch (const std::exception& why) {
                test::say(std::string{"failed: "} + why.what());
            }
        }
    } catch (const error& refused) {
        test::say(std::string{"failed: "} + refused.what());
        return refused.exit_code();
    }
    test::say("left");
    return 0;
}
