#pragma once
/// What travels over the sockets of a domain. Fixed size, one struct a message, version by magic
/// and layout hash. Descriptors ride along in the order given here.
///
///   newcomer                      server (primary; a member for observers and adopters)
///   attach_request  ----------->  [member: pidfd, eventfd]
///                   <-----------  attach_reply  [control, life, segment files in list order]
///   joined          ----------->
///                   <-----------  peer, once for each member  [pidfd, eventfd]
///                   <-----------  welcome
///   later           <-----------  peer, whenever one joins    [pidfd, eventfd]
///
///   member                        another member
///   port_files_wanted  -------->
///                   <-----------  port_files  [the port's, if it has them]
///   port_files      ----------->  [the new port's]
///                   <-----------  port_files
///
///   new primary                   member
///   adopt           ----------->  [pidfd, eventfd]
///                   <-----------  peer  [pidfd, eventfd]; the connection is now its primary's
///
///   successor                     primary, planned hand-over
///   attach_request  ----------->
///                   <-----------  attach_reply  [control, life, segment files in list order]
///   let_go          ----------->
///                   <-----------  let_go; the primary lock is free
///   took_over       ----------->  the successor serves
///
///   sender                        receiver of a message
///   parcel          ----------->  [up to 253 descriptors]
///   parcel          ----------->  without: that message will not come
///
///   observer                      member
///   question        ----------->  [descriptors], the payload behind it
///                   <-----------  reply  the payload behind it, or in a memfd: [memfd,
///                   descriptors]

#include "cohort/base/fixed_name.hpp"
#include "cohort/member/member_table.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace cohort::ipc::wire {

inline constexpr std::uint32_t magic = 0x57'48'4f'43;  // "COHW"

enum class kind : std::uint32_t {
    attach_request = 1,
    attach_reply = 2,
    joined = 3,
    peer = 4,
    welcome = 5,
    adopt = 6,
    let_go = 7,
    took_over = 8,
    port_files_wanted = 9,
    port_files = 10,
    parcel = 11,
    question = 12,
    reply = 13,
};

enum class attach_as : std::uint32_t { member = 1, observer = 2, adopter = 3, successor = 4 };

struct header {
    std::uint32_t magic = wire::magic;
    wire::kind kind{};
};

struct attach_request {
    header head{.kind = kind::attach_request};
    std::uint64_t layout_hash = 0;
    attach_as as{};
    std::int32_t pid = 0;
    fixed_name<64> name;
};

struct attach_reply {
    header head{.kind = kind::attach_reply};
    std::int32_t refusal = 0;         ///< an errc, 0 = welcome
    std::uint32_t segment_lists = 0;  ///< bit i: the file of memseg list i follows
    std::uint64_t layout_hash = 0;
    std::uint64_t window_base = 0;
    std::uint64_t window_bytes = 0;
    std::uint64_t region_bytes = 0;
    fixed_name<256> sentence;  ///< why it was refused
};

/// joined, peer, welcome, adopt: about one member.
struct member_message {
    header head;
    std::uint32_t member = 0;
    std::uint32_t generation = 0;

    [[nodiscard]] member_ref ref() const noexcept
    {
        return {static_cast<member_id>(member), generation};
    }
};

/// Asks for the descriptors of a port, or brings them. Those that nobody asked for are kept, and
/// the answer brings them back.
struct port_files_message {
    header head;
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
};

/// Descriptors of a message that its sender posts next.
struct parcel {
    header head{.kind = kind::parcel};
    std::uint32_t member = 0;
    std::uint32_t generation = 0;
    std::uint64_t number = 0;
};

/// A request of somebody who is no member.
struct question {
    header head{.kind = kind::question};
    std::uint64_t id = 0;
    fixed_name<64> action;
};

struct reply {
    header head{.kind = kind::reply};
    std::uint64_t id = 0;
    std::uint32_t refused = 0;  ///< 1: the payload is the reason
    std::uint32_t in_file = 0;  ///< 1: the payload is what the first descriptor holds
};

inline constexpr std::size_t max_payload_behind = 64 * 1024;
inline constexpr std::size_t max_bytes = sizeof(attach_reply) + max_payload_behind;

/// The first part of `bytes` as a `Message` of that kind, with what is behind it; or nullptr.
template <typename Message>
[[nodiscard]] const Message* with_payload(std::span<const std::byte> bytes, kind wanted) noexcept
{
    const auto* message = reinterpret_cast<const Message*>(bytes.data());
    return bytes.size() >= sizeof(Message) && message->head.magic == magic &&
                   message->head.kind == wanted
               ? message
               : nullptr;
}

/// `bytes` as a `Message` of that kind, or nullptr.
template <typename Message>
[[nodiscard]] const Message* as(std::span<const std::byte> bytes, kind wanted) noexcept
{
    const auto* message = reinterpret_cast<const Message*>(bytes.data());
    return bytes.size() == sizeof(Message) && message->head.magic == magic &&
                   message->head.kind == wanted
               ? message
               : nullptr;
}

template <typename Message>
[[nodiscard]] std::span<const std::byte> bytes_of(const Message& message) noexcept
{
    return std::as_bytes(std::span{&message, 1});
}

}  // namespace cohort::ipc::wire
