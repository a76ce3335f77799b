#include "pcapng.hpp"

#include <type_traits>

namespace cohort::tool {
namespace {

constexpr std::uint32_t section_block = 0x0a0d0d0a;
constexpr std::uint32_t interface_block = 1;
constexpr std::uint32_t statistics_block = 5;
constexpr std::uint32_t packet_block = 6;

/// The body of a block: numbers in this machine's order, padded to four bytes.
class body {
public:
    template <typename Number>
    body& put(Number value)
    {
        static_assert(std::is_unsigned_v<Number>);
        bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }
    /// A time: its upper half comes first.
    body& put_time(std::uint64_t ns)
    {
        return put(static_cast<std::uint32_t>(ns >> 32)).put(static_cast<std::uint32_t>(ns));
    }
    body& put_bytes(std::string_view bytes)
    {
        bytes_.append(bytes);
        bytes_.resize((bytes_.size() + 3) / 4 * 4);
        return *this;
    }
    body& option(std::uint16_t code, std::string_view value)
    {
        put(code).put(static_cast<std::uint16_t>(value.size()));
        return put_bytes(value);
    }
    template <typename Number>
    body& number_option(std::uint16_t code, Number value)
    {
        return option(code, {reinterpret_cast<const char*>(&value), sizeof value});
    }

    [[nodiscard]] std::string as_block(std::uint32_t kind) const
    {
        const auto length = static_cast<std::uint32_t>(bytes_.size() + 12);
        return body{}.put(kind).put(length).put_bytes(bytes_).put(length).bytes_;
    }

private:
    std::string bytes_;
};

constexpr std::uint32_t end_of_options = 0;

}  // namespace

std::string pcapng_header(const pcapng_interface& interface)
{
    constexpr std::uint32_t byte_order = 0x1a2b3c4d;
    constexpr std::uint16_t application = 4, name = 2, resolution = 9;
    body section;
    section.put(byte_order).put(std::uint16_t{1}).put(std::uint16_t{0});  // version 1.0
    section.put(~std::uint64_t{0});                                       // of unknown length
    section.option(application, "cohort").put(end_of_options);
    body described;
    described.put(static_cast<std::uint16_t>(interface.link)).put(std::uint16_t{0});
    described.put(interface.snap_length).option(name, interface.name);
    described.number_option(resolution, std::uint8_t{9}).put(end_of_options);  // 10^-9 s
    return section.as_block(section_block) + described.as_block(interface_block);
}

std::string pcapng_packet(const captured_packet& packet)
{
    constexpr std::uint16_t flags = 2, queue = 6;
    const bool inbound = packet.direction == port_direction::rx;
    body block;
    block.put(std::uint32_t{0}).put_time(packet.time_ns);  // interface 0
    block.put(static_cast<std::uint32_t>(packet.bytes.size())).put(packet.length);
    block.put_bytes({reinterpret_cast<const char*>(packet.bytes.data()), packet.bytes.size()});
    block.number_option(flags, std::uint32_t{inbound ? 1u : 2u});
    block.number_option(queue, std::uint32_t{packet.queue}).put(end_of_options);
    return block.as_block(packet_block);
}

std::string pcapng_statistics(std::uint64_t time_ns, std::uint64_t received, std::uint64_t missed)
{
    constexpr std::uint16_t total = 4, dropped = 5;
    body block;
    block.put(std::uint32_t{0}).put_time(time_ns);
    block.number_option(total, received).number_option(dropped, missed).put(end_of_options);
    return block.as_block(statistics_block);
}

}  // namespace cohort::tool
