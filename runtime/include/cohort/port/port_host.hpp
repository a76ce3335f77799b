#pragma once
/// What a driver gets from the domain that its port is in: the table of names, and descriptors that
/// reach other members.
///
/// *Thread safety*: all calls from any thread.
/// *When a process dies here*: descriptors that were handed over live on in the other member.

#include "cohort/base/file_descriptor.hpp"
#include "cohort/member/membership.hpp"
#include "cohort/memory/memory.hpp"
#include "cohort/pool/mempool_layout.hpp"
#include "cohort/port/port_device.hpp"
#include "cohort/port/port_layout.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace cohort {

/// A port of one generation of its entry: another port in the same place is another one.
struct port_key {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;

    friend bool operator==(const port_key&, const port_key&) = default;
};

/// The calling thread's. Throws `errc::no_space` when it has none because all are in use.
lane_id lane_required(membership& self);

class port_host {
public:
    explicit port_host(memory& segments) : segments_{&segments} {}

    [[nodiscard]] memory& segments() noexcept { return *segments_; }
    [[nodiscard]] const memzone_layout& entry_of(const port_layout& port) const noexcept
    {
        return segments_->layout().zones[port.index];
    }
    [[nodiscard]] port_key key_of(const port_layout& port) const noexcept
    {
        return {port.index, entry_of(port).word().generation};
    }
    /// The pool of an rx queue; nullptr when it has none, or that has been destroyed.
    [[nodiscard]] mempool_layout* pool_of(const port_queue_layout& queue) const noexcept;

    /// Keeps descriptors of a port for as long as the port is there, for this process and others.
    void keep(port_key port, std::vector<file_descriptor> files);
    /// Descriptors of the port of one's own: of what is kept here, else from a member that has
    /// them, and kept from then on. Empty when no member answers.
    [[nodiscard]] std::vector<file_descriptor> files_of(const port_layout& port);
    /// The same without asking others.
    [[nodiscard]] std::vector<file_descriptor> kept_files(port_key port);
    /// Gives the files of a new port, if it has any, to one other member, if there is one.
    void deposit(const port_layout& port);
    /// Closes what is kept of ports that are no more. The dispatcher calls it now and then.
    void forget_gone();
    /// Of this process. Whoever is in the list may outlive this object.
    [[nodiscard]] const std::shared_ptr<port_devices>& devices() const noexcept { return devices_; }

    /// How descriptors travel; without it they stay in this process.
    struct courier {
        std::function<std::vector<file_descriptor>(port_key)> fetch;
        /// False when there is another member and none has taken them.
        std::function<bool(port_key, const std::vector<file_descriptor>&)> deposit;
    };
    void use(courier others) { courier_ = std::move(others); }

private:
    struct kept_port {
        port_key port;
        std::vector<file_descriptor> files;
    };
    void drop_gone();  // under the lock

    memory* segments_;
    courier courier_;
    std::mutex mutex_;  // guards kept_
    std::vector<kept_port> kept_;
    std::shared_ptr<port_devices> devices_ = std::make_shared<port_devices>();
};

}  // namespace cohort
