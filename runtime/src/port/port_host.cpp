#include "cohort/port/port_host.hpp"

#include "cohort/base/error.hpp"
#include "cohort/base/log.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>

namespace cohort {
namespace {

std::vector<file_descriptor> duplicates(const std::vector<file_descriptor>& files)
{
    std::vector<file_descriptor> copies;
    for (const auto& file : files) {
        copies.emplace_back(::fcntl(file.get(), F_DUPFD_CLOEXEC, 3));
        if (!copies.back())
            throw_errno(errno, "cannot duplicate a descriptor of a port");
    }
    return copies;
}

}  // namespace

lane_id lane_required(membership& self)
{
    const auto lane = self.lane();
    if (lane == 0)
        throw error{errc::no_space, "this thread has no lane; end a thread that has one"};
    return lane;
}

mempool_layout* port_host::pool_of(const port_queue_layout& queue) const noexcept
{
    auto& memory = segments_->layout();
    if (queue.pool == 0 || queue.pool > memory.zone_count)
        return nullptr;
    auto& zone = memory.zones[queue.pool - 1];
    if (!zone.is_live() || zone.kind != zone_kind::mempool)
        return nullptr;
    auto* pool = static_cast<mempool_layout*>(zone.data());
    return pool->kind == pool_kind::pktmbuf ? pool : nullptr;
}

void port_host::forget_gone()
{
    devices_->look();
    const std::lock_guard guard{mutex_};
    drop_gone();
}

void port_host::drop_gone()
{
    std::erase_if(kept_, [&](const kept_port& kept) {
        const auto& entry = segments_->layout().zones[kept.port.index];
        const auto word = entry.word();
        return word.generation != kept.port.generation || entry.kind != zone_kind::port ||
               word.state == zone_state::empty;
    });
}

void port_host::keep(port_key port, std::vector<file_descriptor> files)
{
    const std::lock_guard guard{mutex_};
    drop_gone();
    std::erase_if(kept_, [&](const kept_port& kept) { return kept.port == port; });
    if (port.index < segments_->layout().zone_count)
        kept_.push_back({port, std::move(files)});
}

std::vector<file_descriptor> port_host::kept_files(port_key port)
{
    const std::lock_guard guard{mutex_};
    drop_gone();
    for (const auto& kept : kept_)
        if (kept.port == port)
            return duplicates(kept.files);
    return {};
}

std::vector<file_descriptor> port_host::files_of(const port_layout& port)
{
    const auto key = key_of(port);
    auto files = kept_files(key);
    if (!files.empty() || !courier_.fetch)
        return files;
    keep(key, courier_.fetch(key));
    return kept_files(key);
}

void port_host::deposit(const port_layout& port)
{
    const auto key = key_of(port);
    const auto files = kept_files(key);
    if (!files.empty() && courier_.deposit && !courier_.deposit(key, files))
        log(log_level::warning,
            "no other member took the descriptors of a {} port: if this process dies before "
            "another "
            "opens the port, its device ends",
            port.driver.view());
}

}  // namespace cohort
