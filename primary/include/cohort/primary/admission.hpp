#pragma once
/// The primary's answers on its socket: what every member answers, and the admission of newcomers.
///
/// *Thread safety*: called by the dispatcher's thread only.
/// *When a process dies here*: a newcomer killed half-way leaves a slot in JOINING, found by its
/// free lock byte; a primary killed half-way leaves members that do not know each other's pidfd
/// yet: they fall back to lock byte and sentinels until the next primary introduces them.

#include "cohort/ipc/member_service.hpp"

#include <map>

namespace cohort::primary {

class admission : public ipc::member_service {
public:
    using member_service::member_service;

    bool on_message(ipc::dispatcher& loop, int connection, std::span<const std::byte> bytes,
                    std::vector<file_descriptor> fds) override;
    void on_closed(ipc::dispatcher& loop, int connection) override;

    /// A connection to a member that was there before this primary.
    void add_member(int connection, member_ref member) { members_[connection] = member; }

protected:
    /// Members that were there before answer their adopter with news of themselves.
    [[nodiscard]] bool brings_news(const ipc::dispatcher&, int connection) const override
    {
        return members_.contains(connection);
    }

private:
    struct applicant {
        file_descriptor pidfd;
        file_descriptor wake;
    };
    /// Sends a member's descriptors to all others; `except` is the connection they came over.
    void introduce(member_ref member, int pidfd, int wake, int except);
    bool welcome(ipc::dispatcher& loop, int connection, member_ref newcomer);

    std::map<int, applicant> applicants_;  ///< by connection, until they have joined
    std::map<int, member_ref> members_;    ///< by connection
};

}  // namespace cohort::primary
