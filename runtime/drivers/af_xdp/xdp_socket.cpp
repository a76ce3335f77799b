#include "xdp_socket.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

namespace cohort::detail {
namespace {

constexpr std::uintptr_t page = 4096;
constexpr auto unbinding_patience = 1s;

template <typename Value>
int set_option(const file_descriptor& socket, int option, const Value& value) noexcept
{
    return ::setsockopt(socket.get(), SOL_XDP, option, &value, sizeof value) == 0 ? 0 : errno;
}

file_descriptor open_socket()
{
    file_descriptor made{::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};
    if (made)
        return made;
    if (errno == EPERM || errno == EACCES)
        throw error{errc::no_permission,
                    "an af_xdp port needs the right CAP_NET_RAW in its network namespace; run as "
                    "root or grant it"};
    if (errno == EAFNOSUPPORT)
        throw error{errc::not_found,
                    "an af_xdp port needs a kernel with CONFIG_XDP_SOCKETS, and this one has no "
                    "AF_XDP; use af_packet"};
    throw_errno(errno, "cannot make an AF_XDP socket");
}

void register_memory(const file_descriptor& socket, const umem_shape& umem)
{
    xdp_umem_reg request{};
    request.addr = umem.base;
    request.len = umem.bytes;
    request.chunk_size = umem.chunk_bytes;
    request.flags = XDP_UMEM_UNALIGNED_CHUNK_FLAG;
    const int refused = set_option(socket, XDP_UMEM_REG, request);
    if (refused == 0)
        return;
    rlimit allowed{};
    ::getrlimit(RLIMIT_MEMLOCK, &allowed);
    if (refused == ENOBUFS)
        throw error{errc::no_memory,
                    fmt::format("an af_xdp port locks the {} bytes of its pool in memory but "
                                "RLIMIT_MEMLOCK allows {}; raise that (ulimit -l) or grant "
                                "CAP_IPC_LOCK",
                                umem.bytes, allowed.rlim_cur)};
    throw_errno(refused,
                fmt::format("the kernel does not take the {} bytes of a pool as the memory "
                            "of an af_xdp port",
                            umem.bytes));
}

void make_rings(const file_descriptor& socket, std::uint32_t slots)
{
    for (const int ring : {XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING})
        if (const int refused = set_option(socket, ring, slots); refused != 0)
            throw_errno(refused,
                        fmt::format("cannot make a ring of {} slots for an AF_XDP socket", slots));
}

[[noreturn]] void throw_unbound(const xdp_socket_request& wanted, std::uint32_t queue, int reason)
{
    switch (reason) {
    case EBUSY:
        throw error{
            errc::in_use,
            fmt::format("an AF_XDP socket has queue {} of the interface \"{}\" already: of "
                        "another program, or of a port that was destroyed and of which a "
                        "member still has a handle that it does not poll; end that program, "
                        "or close or poll that handle",
                        queue, wanted.interface_name)};
    case EINVAL:
        throw error{errc::invalid_argument,
                    fmt::format("the interface \"{0}\" has no queue {1}; give queues={1} or fewer",
                                wanted.interface_name, queue)};
    default:
        throw_errno(reason, fmt::format("cannot bind an AF_XDP socket to queue {} of \"{}\"", queue,
                                        wanted.interface_name));
    }
}

void bind_to_queue(const file_descriptor& socket, const xdp_socket_request& wanted,
                   std::uint32_t queue, const file_descriptor& first)
{
    sockaddr_xdp address{};
    address.sxdp_family = AF_XDP;
    address.sxdp_ifindex = static_cast<std::uint32_t>(wanted.interface_index);
    address.sxdp_queue_id = queue;
    address.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP;
    if (queue != 0) {
        address.sxdp_flags = XDP_SHARED_UMEM;
        address.sxdp_shared_umem_fd = static_cast<std::uint32_t>(first.get());
    }
    // Members that poll a port that was destroyed let go of its sockets just now, and the kernel
    // frees the queue of a socket that was closed a little later.
    const auto until = deadline_in(unbinding_patience);
    while (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (errno != EBUSY || steady_clock::now() >= until)
            throw_unbound(wanted, queue, errno);
        std::this_thread::sleep_for(5ms);
    }
}

}  // namespace

umem_shape umem_shape::of(const mempool_layout& pool, std::size_t longest)
{
    const auto chunk = std::min<std::uint32_t>(pool.data_room, chunk_most);
    if (pool.kind != pool_kind::pktmbuf || pool.pinned != 0)
        throw error{errc::invalid_argument,
                    "an af_xdp port needs a pool of mbufs with buffers of their own; create it "
                    "with create_pktmbuf_pool"};
    if (pool.listed().size() != 1 || pool.count() != pool.capacity)
        throw error{errc::invalid_argument,
                    fmt::format("the pool of an af_xdp port must lie in one piece of memory and "
                                "not grow, but this has {} of {} buffers in {} chunks; create it "
                                "whole",
                                pool.count(), pool.capacity, pool.listed().size())};
    if (chunk < chunk_least || chunk < frame_offset + longest)
        throw error{errc::invalid_argument,
                    fmt::format("a frame of the af_xdp port has {} bytes and {} in front, and the "
                                "kernel wants {} to {} for that, but the buffers of the pool have "
                                "{}; give the pool another data_room, or the interface a smaller "
                                "MTU",
                                longest, frame_offset, chunk_least, chunk_most, pool.data_room)};
    const auto& all = pool.listed().front();
    const auto first = all.objects & ~(page - 1);
    return {.base = first,
            .bytes = all.objects + std::uint64_t{all.count} * pool.stride - first,
            .chunk_bytes = chunk};
}

std::vector<file_descriptor> make_xdp_sockets(const xdp_socket_request& wanted,
                                              const umem_shape& umem)
{
    std::vector<file_descriptor> sockets;
    for (std::uint32_t queue = 0; queue != wanted.queues; ++queue) {
        auto& socket = sockets.emplace_back(open_socket());
        if (queue == 0)
            register_memory(socket, umem);
        make_rings(socket, wanted.slots);
        bind_to_queue(socket, wanted, queue, sockets[0]);
    }
    return sockets;
}

xdp_mmap_offsets ring_places(int socket)
{
    xdp_mmap_offsets places{};
    socklen_t length = sizeof places;
    if (::getsockopt(socket, SOL_XDP, XDP_MMAP_OFFSETS, &places, &length) != 0)
        throw_errno(errno, "cannot read where the rings of an AF_XDP socket are");
    return places;
}

template <typename Slot>
xdp_ring<Slot>::xdp_ring(int socket, std::uint64_t which, const xdp_ring_offset& places,
                         std::uint32_t slots)
    : places_{places}
    , slots_{slots}
{
    void* at = ::mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, socket,
                      static_cast<off_t>(which));
    if (at == MAP_FAILED && errno == EBUSY)
        throw error{errc::not_found,
                    "the interface of an af_xdp port is gone, or the kernel is older than Linux "
                    "6.4 and lets nobody map the rings of an AF_XDP socket that is bound; destroy "
                    "the port, or use af_packet"};
    if (at == MAP_FAILED)
        throw_errno(errno, "cannot map a ring of an AF_XDP socket");
    ::madvise(at, bytes(), MADV_DONTFORK);
    base_ = static_cast<std::byte*>(at);
}

template <typename Slot>
xdp_ring<Slot>::~xdp_ring()
{
    ::munmap(base_, bytes());
}

template class xdp_ring<xdp_desc>;
template class xdp_ring<std::uint64_t>;

}  // namespace cohort::detail
