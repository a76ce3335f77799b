#pragma once
/// What a member answers on its socket: the region's descriptors for observers and for a new
/// primary, news of other members, and requests of those who are no members.
///
/// *Thread safety*: called by the dispatcher's thread only.

#include "cohort/base/error.hpp"
#include "cohort/domain/domain.hpp"
#include "cohort/ipc/peers.hpp"
#include "cohort/ipc/queries.hpp"
#include "cohort/ipc/wire.hpp"

#include <set>
#include <span>
#include <vector>

namespace cohort::ipc {

class dispatcher;

class member_service {
public:
    member_service(domain& shared, const queries& known, int own_wake)
        : domain_{shared}
        , queries_{known}
        , own_wake_{own_wake}
    {
    }
    virtual ~member_service() = default;
    member_service(const member_service&) = delete;
    member_service& operator=(const member_service&) = delete;

    /// One message of a connection. False closes the connection.
    virtual bool on_message(dispatcher& loop, int connection, std::span<const std::byte> bytes,
                            std::vector<file_descriptor> fds);
    /// A client of DPDK's telemetry: it is greeted, and what it sends are queries. False: hang up.
    virtual bool on_telemetry(dispatcher& loop, int connection);
    virtual void on_closed(dispatcher& loop, int connection);

protected:
    /// Whom to believe about other members: the primary.
    [[nodiscard]] virtual bool brings_news(const dispatcher& loop, int connection) const;
    /// Sends the region's descriptors, for reading only unless `access` says otherwise.
    bool send_region(int connection, map_access access);
    bool refuse(int connection, errc code, std::string_view sentence);
    /// Sends this member's own pidfd and eventfd.
    bool send_self(int connection);
    /// The same, as the primary that a member has to follow from now on.
    bool send_adopt(int connection);

    bool send_port_files(int connection, port_key port);

    [[nodiscard]] domain& shared() noexcept { return domain_; }

private:
    bool answer(dispatcher& loop, int connection, std::span<const std::byte> bytes,
                std::vector<file_descriptor> fds);

    domain& domain_;
    const queries& queries_;
    int own_wake_;
    std::set<int> telemetry_;  ///< connections of DPDK's clients
};

/// Sends `peer` about one member, with its descriptors.
bool send_peer(int connection, member_ref member, int pidfd, int wake) noexcept;

}  // namespace cohort::ipc
