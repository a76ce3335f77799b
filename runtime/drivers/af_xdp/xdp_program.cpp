#include "xdp_program.hpp"

#include "cohort/base/error.hpp"

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>

namespace cohort::detail {
namespace {

constexpr const char* program_name = "cohort_to_xsk";

/// Of what libbpf returns: a descriptor, or a negative errno.
file_descriptor checked(int made, const char* what)
{
    if (made >= 0)
        return file_descriptor{made};
    if (made == -EPERM || made == -EACCES)
        throw error{errc::no_permission,
                    fmt::format("cannot make {} of an af_xdp port: {}; it needs the rights CAP_BPF "
                                "and CAP_NET_ADMIN, so run as root or grant them",
                                what, describe_errno(-made))};
    throw_errno(-made, fmt::format("cannot make {} of an af_xdp port", what));
}

std::uint32_t flags_of(xdp_mode mode) noexcept
{
    return mode == xdp_mode::skb ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
}

int create_link(int program, int interface, xdp_mode mode) noexcept
{
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    options.flags = flags_of(mode);
    return ::bpf_link_create(program, interface, BPF_XDP, &options);
}

bool is_attached(int link) noexcept
{
    bpf_link_info info{};
    std::uint32_t length = sizeof info;
    return ::bpf_obj_get_info_by_fd(link, &info, &length) == 0 && info.xdp.ifindex != 0;
}

}  // namespace

file_descriptor make_socket_map(std::uint32_t places)
{
    return checked(::bpf_map_create(BPF_MAP_TYPE_XSKMAP, "cohort_sockets", sizeof(std::uint32_t),
                                    sizeof(std::uint32_t), places, nullptr),
                   "the map");
}

file_descriptor load_program(const file_descriptor& map)
{
    // return bpf_redirect_map(&map, context->rx_queue_index, XDP_PASS);
    const std::array<bpf_insn, 6> code{{
        {.code = BPF_LDX | BPF_MEM | BPF_W,
         .dst_reg = BPF_REG_2,
         .src_reg = BPF_REG_1,
         .off = offsetof(xdp_md, rx_queue_index),
         .imm = 0},
        {.code = BPF_LD | BPF_DW | BPF_IMM,
         .dst_reg = BPF_REG_1,
         .src_reg = BPF_PSEUDO_MAP_FD,
         .off = 0,
         .imm = map.get()},
        {.code = 0, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},  // its upper half
        {.code = BPF_ALU64 | BPF_MOV | BPF_K,
         .dst_reg = BPF_REG_3,
         .src_reg = 0,
         .off = 0,
         .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_CALL,
         .dst_reg = 0,
         .src_reg = 0,
         .off = 0,
         .imm = BPF_FUNC_redirect_map},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    }};
    return checked(::bpf_prog_load(BPF_PROG_TYPE_XDP, program_name, "Dual BSD/GPL", code.data(),
                                   code.size(), nullptr),
                   "the program");
}

file_descriptor attach_program(const file_descriptor& program, int interface,
                               const std::string& name, xdp_mode mode)
{
    const int made = create_link(program.get(), interface, mode);
    if (made == -EBUSY || made == -EEXIST)
        throw error{errc::in_use,
                    fmt::format("another XDP program is attached to the interface \"{0}\", maybe "
                                "that of another port; end who has it (\"ip link show dev {0}\" "
                                "names it, \"ip link set dev {0} xdp off\" takes it away)",
                                name)};
    if (made == -EOPNOTSUPP)
        throw error{errc::invalid_argument,
                    fmt::format("the driver of the interface \"{}\" has no place for an XDP "
                                "program; give mode=skb",
                                name)};
    return checked(made, "the attachment");
}

int restore_link(file_descriptor& link, int program, int interface, xdp_mode mode) noexcept
{
    if (is_attached(link.get()))
        return 0;
    const int made = create_link(program, interface, mode);
    if (made < 0)
        return -made;
    link = file_descriptor{made};
    return 0;
}

void detach_program(const file_descriptor& link)
{
    if (const int done = ::bpf_link_detach(link.get()); done != 0 && is_attached(link.get()))
        throw_errno(-done, "cannot detach the program of an af_xdp port");
}

int connect_socket(int map, std::uint32_t queue, int socket) noexcept
{
    return -::bpf_map_update_elem(map, &queue, &socket, BPF_ANY);
}

void disconnect_socket(const file_descriptor& map, std::uint32_t queue)
{
    if (const int done = ::bpf_map_delete_elem(map.get(), &queue); done != 0 && done != -ENOENT)
        throw_errno(-done, "cannot take the socket of an af_xdp port out of its map");
}

}  // namespace cohort::detail
