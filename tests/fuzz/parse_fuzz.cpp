// Any bytes as a packet: parse it, name its flow, lower its TTL, classify it as a chain of segments
// and look at its checksums. AddressSanitizer watches the
// bounds; the properties that need no second implementation are required here.
//
// The first input byte chooses the link type, the second the stage, the rest is the packet.

#include "cohort/packet/checksum.hpp"
#include "cohort/packet/ip_checksum.hpp"
#include "cohort/packet/packet_type.hpp"
#include "cohort/packet/parse.hpp"
#include "cohort/packet/ttl.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace {

using namespace cohort;

constexpr std::array links{link_type::ethernet,  link_type::null,      link_type::loop,
                           link_type::raw,       link_type::dlt_raw,   link_type::ipv4,
                           link_type::ipv6,      link_type::linux_sll, link_type::linux_sll2,
                           link_type{0xffffffff}};

void require(bool holds)
{
    if (!holds)
        std::abort();
}

void check_bounds(const parsed_packet& packet, std::span<const std::byte> bytes)
{
    require(packet.l2_length <= bytes.size());
    require(packet.l4_offset() <= bytes.size());
    require(packet.vlan_count <= max_vlan_tags);
    require((packet.l3 == l3_kind::none) == (packet.l3_length == 0));
    require(packet.l4 == l4_kind::none || packet.l3 != l3_kind::none);
    const std::size_t address_bytes =
        packet.l3 == l3_kind::none ? 0 : (packet.l3 == l3_kind::ipv4 ? 4 : 16);
    require(src_address(packet, bytes).size() == address_bytes);
    require(dst_address(packet, bytes).size() == address_bytes);
}

void check_flow(const parsed_packet& packet, std::span<const std::byte> bytes)
{
    const auto key = flow_key_of(packet, bytes);
    require(flow_hash(key) == flow_hash(key.reversed()));
    require(key.bidirectional() == key.reversed().bidirectional());
    if (packet.l3 != l3_kind::none)
        require(flow_hash(packet, bytes) == flow_hash(key));
}

/// How wrong the header checksum is, 0 for not at all. The fixed part is enough: options do not
/// change.
std::uint16_t header_error(const parsed_packet& packet, std::span<const std::byte> bytes)
{
    return internet_checksum(bytes.subspan(packet.l3_offset(), 20));
}

void check_ttl(const parsed_packet& packet, std::span<std::byte> bytes, std::uint8_t stage)
{
    const std::vector<std::byte> before(bytes.begin(), bytes.end());
    const auto note = plan_ttl_decrement(packet, bytes, stage);
    require(ttl_note::unpack(note.pack()) == note);
    require(std::ranges::equal(bytes, before));

    apply_ttl(note, bytes);
    const std::vector<std::byte> once(bytes.begin(), bytes.end());
    apply_ttl(ttl_note::unpack(note.pack()), bytes);
    require(std::ranges::equal(bytes, once));

    std::uint64_t note_word = note.pack();
    lower_ttl_once(note_word, packet, bytes, stage);  // as after a death
    require(std::ranges::equal(bytes, once) && note_word == note.pack());

    require((note.change == ttl_change::none) == (before == once));
    if (note.change == ttl_change::ipv4)
        require(header_error(packet, before) == header_error(packet, once));
    require(parse(packet.link, bytes).l4_offset() == packet.l4_offset());
}

/// The bytes as a chain of mbufs that no pool knows; they end where the packet ends.
std::vector<mbuf> segments_of(std::span<std::byte> bytes, std::size_t piece)
{
    std::vector<mbuf> chain(bytes.size() / piece + 1);
    std::size_t at = 0;
    for (auto& segment : chain) {
        const auto length = std::min(piece, bytes.size() - at);
        segment.buf_addr = bytes.data() + at;
        segment.data_len = segment.buf_len = static_cast<std::uint16_t>(length);
        segment.next = &segment == &chain.back() ? nullptr : &segment + 1;
        at += length;
    }
    chain[0].pkt_len = static_cast<std::uint32_t>(bytes.size());
    chain[0].nb_segs = static_cast<std::uint16_t>(chain.size());
    return chain;
}

void check_classes(std::span<std::byte> bytes, std::size_t piece)
{
    auto chain = segments_of(bytes, piece);
    auto& packet = chain[0];
    const auto found = classify(packet);
    require(found.lengths.sum() <= bytes.size());
    require((found.type & ~ptype::all) == 0);
    auto whole = segments_of(bytes, bytes.size() + 1);
    require(classify(whole[0]) == found);  // however it is cut
    for (const auto layers : {ptype::l2_mask, ptype::l2_mask | ptype::l3_mask})
        require(classify(packet, layers).type == (found.type & layers));
    const auto before = verify_l4_checksum(packet);
    if (fill_checksums(whole[0]) && before != checksum_state::unknown)
        require(verify_l4_checksum(whole[0]) == checksum_state::good);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    if (size < 2)
        return 0;
    const auto link = links[data[0] % links.size()];
    const auto stage = data[1];
    const auto copy = std::make_unique<std::byte[]>(size - 2);  // ends where the packet ends
    const std::span<std::byte> bytes{copy.get(), size - 2};
    std::ranges::copy(std::as_bytes(std::span{data + 2, size - 2}), bytes.begin());

    const auto packet = parse(link, bytes);
    check_bounds(packet, bytes);
    check_flow(packet, bytes);
    check_ttl(packet, bytes, stage);
    if (bytes.size() < 0x8000)
        check_classes(bytes, 1 + stage % 64);

    // Any word may be found where a note should be; it must not lead outside either.
    if (bytes.size() >= sizeof(std::uint64_t)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        apply_ttl(ttl_note::unpack(word | 1), bytes);
    }
    return 0;
}
