#include "cohort/primary/primary.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/fault_point.hpp"
#include "cohort/base/log.hpp"
#include "cohort/ipc/socket.hpp"
#include "cohort/primary/admission.hpp"
#include "cohort/primary/adoption.hpp"
#include "cohort/primary/region_maker.hpp"
#include "cohort/primary/succession.hpp"

#include <array>
#include <thread>

#include <fmt/format.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace cohort::primary {
namespace {

constexpr auto take_back_patience = 500ms;
constexpr auto introduction_patience = 100ms;  // for all members together

/// One primary at a time chooses a window under a root.
file_descriptor lock_root(const rendezvous& place, deadline until)
{
    file_descriptor root{::open(place.root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!root)
        throw_errno(errno, fmt::format("cannot open {}", place.root()));
    const auto begin = steady_clock::now();
    while (::flock(root.get(), LOCK_EX | LOCK_NB) != 0) {
        if (const auto now = steady_clock::now(); now >= until)
            throw error{errc::timed_out,
                        fmt::format("another primary under {} is starting and does not "
                                    "finish for {:.0f} s; continue it if it is stopped, or end it",
                                    place.root(),
                                    std::chrono::duration<double>{now - begin}.count())};
        std::this_thread::sleep_for(1ms);
    }
    return root;
}

/// Empty when the file was removed meanwhile: what was opened before that guards nothing.
std::optional<lock_description> take_primary_lock(const rendezvous& place)
{
    lock_description lock{place.lock_file(), lock_description::open_mode::create};
    if (lock.try_lock(lock_description::primary_byte)) {
        if (lock.is_at(place.lock_file()))
            return lock;
        return std::nullopt;
    }
    const auto record = lock.read_place();
    throw error{
        errc::domain_alive,
        fmt::format("domain \"{}\" has a live primary, pid {}; attach to it or stop it first",
                    place.name(), record ? record->pid : 0)};
}

struct start_locks {
    file_descriptor root;
    lock_description primary;
};

/// The last primary of a name takes lock file and directory away when it ends, at any moment before
/// the primary lock is held; then all is made again.
start_locks take_locks(const rendezvous& place, deadline until)
{
    do {
        try {
            place.create();
            auto root = lock_root(place, until);
            if (auto lock = take_primary_lock(place))
                return {std::move(root), std::move(*lock)};
        } catch (const error& refused) {
            if (refused.reason() != errc::no_such_domain)
                throw;
        }
    } while (steady_clock::now() < until);
    throw error{errc::timed_out,
                fmt::format("{} is taken away again and again while this primary starts; stop what "
                            "starts and ends domain \"{}\" all the time",
                            place.directory(), place.name())};
}

/// Tells every member of the new primary; each answers with its descriptors.
std::vector<file_descriptor> introduce(ipc::joined_domain& self, int wake, admission& service)
{
    std::vector<file_descriptor> connections;
    const auto pidfd = ipc::own_pidfd();
    const std::array fds{pidfd.get(), wake};
    const auto soon = deadline_in(introduction_patience);
    const ipc::wire::member_message hello{.head = {.kind = ipc::wire::kind::adopt},
                                          .member = self.self().id,
                                          .generation = self.self().generation};
    self.members().members().for_each_member([&](member_id id, member_layout&, member_word word) {
        if (id == self.self().id || word.state != member_state::live)
            return;
        try {
            // The answer is read by the dispatcher: a stopped member delays nobody.
            auto connection = ipc::connect_to(self.place().member_socket(id), soon);
            if (ipc::send_message(connection.get(), ipc::wire::bytes_of(hello), fds)) {
                service.add_member(connection.get(), {id, word.generation});
                connections.push_back(std::move(connection));
                COHORT_FAULT_POINT("adopt.introduced");
            }
        } catch (const error& absent) {
            log(log_level::info, "member {} is not introduced: {}", id, absent.what());
        }
    });
    return connections;
}

/// What a primary leaves that was killed while it took its predecessor's place.
void remove_next_socket(const rendezvous& place)
{
    ::unlink(ipc::aside_of(place.primary_socket()).c_str());
}

/// A member that was killed could not remove its socket. Nobody joins any more, so what belongs to
/// an empty slot belongs to nobody.
void remove_sockets_of_the_dead(const member_table_layout& table, const rendezvous& place)
{
    for (member_id id = 1; id != max_members; ++id)
        if (table.members[id].word().state == member_state::empty)
            ::unlink(place.member_socket(id).c_str());
}

}  // namespace

owner::owner(region_mapping region, ipc::member_claim claim, rendezvous place, file_descriptor wake,
             lock_description primary_lock, bool adopted, const start_options& options)
    : joined_domain{std::move(region), std::move(claim), std::move(place), std::move(wake)}
    , primary_lock_{std::move(primary_lock)}
    , adopted_{adopted}
    , telemetry_{options.dpdk_telemetry
                     ? ipc::telemetry_socket::listen(options.name, this->place().primary_socket())
                     : ipc::telemetry_socket{}}
    , tell_handed_over_{options.handed_over}
{
    auto& header = this->region().header;
    go_live();
    header.epoch.fetch_add(1, std::memory_order_acq_rel);
    header.primary.store(own_word(), std::memory_order_release);
    COHORT_FAULT_POINT("primary.live");

    auto service = std::make_unique<admission>(*this, queries(), wake_fd(),
                                               hand_over_calls{[this] { let_go(); },
                                                               [this] { return take_back(); },
                                                               [this] { note_handed_over(); }});
    admission_ = service.get();
    auto connections =
        adopted_ ? introduce(*this, wake_fd(), *service) : std::vector<file_descriptor>{};
    std::vector<file_descriptor> listeners;
    const auto group = this->place().group();
    listeners.push_back(ipc::listen_at(this->place().member_socket(self().id), group));
    listeners.push_back(ipc::listen_in_place_of(this->place().primary_socket(), group));
    admits_at_ = listeners.back().get();
    COHORT_FAULT_POINT("primary.listening");
    if (telemetry_)
        listeners.push_back(telemetry_listener());
    start(std::move(service), std::move(listeners), std::move(connections), options.dispatch);
}

owner::~owner()
{
    loop().stop();  // admits nobody any more
    if (handed_over())
        return;  // what lies in the directory is the successor's
    bool others = false;
    members().members().for_each_member([&](member_id id, member_layout&, member_word word) {
        others = others || (id != self().id && word.state != member_state::empty);
    });
    ::unlink(place().primary_socket().c_str());
    COHORT_FAULT_POINT("primary.unheard");
    remove_next_socket(place());
    remove_sockets_of_the_dead(region().members, place());
    if (others)
        return;
    ::unlink(place().member_socket(self().id).c_str());
    // From here on the next primary of that name may be there: nothing below this is touched again.
    ::unlink(place().lock_file().c_str());
    COHORT_FAULT_POINT("primary.unlocked");
    ::rmdir(place().directory().c_str());
}

std::uint64_t owner::own_word() const noexcept
{
    return std::uint64_t{self().id} << 32 | self().generation;
}

void owner::let_go()
{
    primary_lock_.unlock(lock_description::primary_byte);
    log(log_level::info, "domain \"{}\" is being handed over", name());
}

file_descriptor owner::telemetry_listener()
{
    auto listener = ipc::duplicate(telemetry_.fd());
    loop().set_telemetry_listener(listener.get());
    return listener;
}

bool owner::take_back()
{
    // A successor that dies lets go of its connection some time before its lock.
    const auto until = deadline_in(take_back_patience);
    while (!primary_lock_.try_lock(lock_description::primary_byte)) {
        if (steady_clock::now() >= until)
            return false;
        std::this_thread::sleep_for(1ms);
    }
    // The successor may have listened there already, and for telemetry.
    admits_at_ = loop().listen_in_place_of(
        admits_at_, ipc::listen_in_place_of(place().primary_socket(), place().group()));
    auto& header = region().header;
    primary_lock_.write_place({header.window_base, header.window_bytes, header.region_bytes},
                              ::getpid());
    if (header.primary.load(std::memory_order_acquire) != own_word()) {
        header.epoch.fetch_add(1, std::memory_order_acq_rel);
        header.primary.store(own_word(), std::memory_order_release);
    }
    log(log_level::warning, "the successor hung up; domain \"{}\" is served as before", name());
    take_telemetry_back();
    return true;
}

/// Without it the domain is served all the same.
void owner::take_telemetry_back() noexcept
{
    if (!telemetry_ || telemetry_.is_in_place())
        return;
    try {
        telemetry_ = ipc::telemetry_socket::listen(name());
        if (telemetry_)
            loop().set_telemetry_listener(loop().listen_in_place_of(
                loop().telemetry_listener(), ipc::duplicate(telemetry_.fd())));
    } catch (...) {
        telemetry_ = {};  // or clients would wait there for nobody
        log(log_level::warning, "no telemetry for DPDK's clients: {}", describe_thrown());
    }
}

void owner::note_handed_over()
{
    handed_over_.store(true, std::memory_order_release);
    log(log_level::info, "another primary serves domain \"{}\"", name());
    if (tell_handed_over_)
        tell_handed_over_();
}

std::vector<std::string> owner::shut_down(deadline until)
{
    admission_->close_door();
    const auto others = [&] {
        std::vector<std::pair<member_ref, std::string>> found;
        members().members().for_each_member(
            [&](member_id id, member_layout& member, member_word word) {
                if (id != self().id)
                    found.push_back({{id, word.generation}, std::string{member.name.view()}});
            });
        return found;
    };
    for (const auto& [member, name] : others())
        if (!actions().send(member, ipc::shut_down_action))
            log(log_level::warning, "member \"{}\" cannot be asked to leave: its inbox is full",
                name);
    auto left = others();
    for (; !left.empty() && steady_clock::now() < until; left = others())
        std::this_thread::sleep_for(1ms);
    std::vector<std::string> names;
    for (auto& [member, name] : left)
        names.push_back(std::move(name));
    return names;
}

namespace {

std::unique_ptr<owner> serve(const start_options& options, rendezvous place, lock_description lock,
                             region_mapping region, bool adopted)
{
    const auto& header = region.layout().header;
    if (adopted)
        lock.write_place({header.window_base, header.window_bytes, header.region_bytes},
                         ::getpid());
    auto claim =
        ipc::claim_member(region.layout(), place, options.member_name, member_role::primary);
    return std::make_unique<owner>(std::move(region), std::move(claim), std::move(place),
                                   ipc::new_eventfd(), std::move(lock), adopted, options);
}

/// Members that live have come by the group that there was.
void check_group(const start_options& options, const rendezvous& place)
{
    const auto stands = place.group();
    if (!options.group || options.group == stands)
        return;
    throw error{
        errc::invalid_argument,
        fmt::format("domain \"{}\" lives and is {}, not to group {}; leave the group out, or end "
                    "its members first",
                    place.name(),
                    stands ? fmt::format("open to group {}", *stands) : "open to its user alone",
                    *options.group)};
}

std::unique_ptr<owner> take_over(const start_options& options, rendezvous place, deadline until)
{
    place.check();
    check_group(options, place);
    const auto root = lock_root(place, until);
    auto won = succeed(options, place, until);
    auto successor =
        serve(options, std::move(place), std::move(won.lock), std::move(won.region), true);
    COHORT_FAULT_POINT("handover.serving");
    tell_took_over(won.predecessor);
    return successor;
}

}  // namespace

std::unique_ptr<owner> start(const start_options& options)
{
    const auto until = deadline_in(options.patience);
    rendezvous place{options.name};
    if (options.existing == takeover::hand_over)
        return take_over(options, std::move(place), until);
    auto [root, lock] = take_locks(place, until);
    const bool alive = lock.is_locked(lock_description::life_byte);
    if (alive && options.existing == takeover::fresh)
        throw error{
            errc::domain_alive,
            fmt::format("domain \"{}\" has lost its primary but still has members; adopt it or "
                        "stop them first",
                        place.name())};
    if (!alive && options.existing == takeover::adopt)
        throw error{
            errc::no_such_domain,
            fmt::format("there is nothing to adopt: domain \"{}\" has no member", place.name())};
    if (alive) {
        check_group(options, place);
    } else {
        remove_debris(place);
        place.open_to(options.group, lock);
    }
    auto region =
        alive ? adopt_region(options, place, lock, until) : make_region(options, place, lock);
    return serve(options, std::move(place), std::move(lock), std::move(region), alive);
}

}  // namespace cohort::primary
