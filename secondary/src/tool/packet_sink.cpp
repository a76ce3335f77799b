#include "packet_sink.hpp"

#include "cohort/base/clock.hpp"
#include "cohort/base/error.hpp"
#include "cohort/base/file_descriptor.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <fcntl.h>
#include <unistd.h>

namespace cohort::tool {
namespace {

class pcapng_sink final : public packet_sink {
public:
    pcapng_sink(const std::string& file, const pcapng_interface& interface)
        : name_{file == "-" ? "standard output" : '"' + file + '"'}
        , waiting_{pcapng_header(interface)}
    {
        file_ = file_descriptor{
            file == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                        : ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
        if (!file_)
            fail("open");
        flush();
    }
    void put(const captured_packet& packet) override
    {
        constexpr std::size_t much = 64 * 1024;
        waiting_ += pcapng_packet(packet);
        if (waiting_.size() >= much)
            flush();
    }
    void flush() override
    {
        std::string_view left = waiting_;
        while (!left.empty()) {
            const auto written = ::write(file_.get(), left.data(), left.size());
            if (written < 0 && errno != EINTR)
                fail("write to");
            left.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
        }
        waiting_.clear();
    }
    void finish(std::uint64_t received, std::uint64_t missed) override
    {
        waiting_ += pcapng_statistics(wall_clock_ns(), received, missed);
        flush();
    }

private:
    [[noreturn]] void fail(const char* what) const
    {
        throw error{errc::system, fmt::format("cannot {} {}: {}; name a file that can be written",
                                              what, name_, describe_errno(errno))};
    }

    std::string name_;
    file_descriptor file_;
    std::string waiting_;
};

std::string text_of(std::span<const std::byte> address)
{
    std::array<char, INET6_ADDRSTRLEN> text{};
    const int family = address.size() == 4 ? AF_INET : AF_INET6;
    return ::inet_ntop(family, address.data(), text.data(), text.size()) ? text.data() : "?";
}

/// "10.0.0.1:53 > 10.0.0.2:4711 UDP", or what is known of it.
std::string conversation(link_type link, std::span<const std::byte> bytes)
{
    const auto packet = parse(link, bytes);
    if (packet.l3 == l3_kind::none)
        return fmt::format("type 0x{:04x}", packet.ether_type);
    const bool has_ports = packet.l4 == l4_kind::tcp || packet.l4 == l4_kind::udp;
    const auto end = [&](std::span<const std::byte> address, std::uint16_t port) {
        const auto text = text_of(address);
        if (!has_ports)
            return text;
        return packet.l3 == l3_kind::ipv6 ? fmt::format("[{}]:{}", text, port)
                                          : fmt::format("{}:{}", text, port);
    };
    const auto* protocol = packet.l4 == l4_kind::tcp      ? "TCP"
                           : packet.l4 == l4_kind::udp    ? "UDP"
                           : packet.l4 == l4_kind::icmp   ? "ICMP"
                           : packet.l4 == l4_kind::icmpv6 ? "ICMPv6"
                                                          : nullptr;
    return fmt::format("{} > {} {}", end(src_address(packet, bytes), packet.src_port),
                       end(dst_address(packet, bytes), packet.dst_port),
                       protocol ? protocol : fmt::format("protocol {}", packet.protocol));
}

/// On standard output.
class printing_sink : public packet_sink {
public:
    explicit printing_sink(link_type link) noexcept : link_{link} {}

    void flush() override
    {
        if (std::fflush(stdout) != 0)
            throw error{errc::system,
                        fmt::format("cannot write to standard output: {}", describe_errno(errno))};
    }
    void finish(std::uint64_t, std::uint64_t) override { flush(); }

protected:
    static const char* direction_of(const captured_packet& packet) noexcept
    {
        return packet.direction == port_direction::rx ? "rx" : "tx";
    }
    [[nodiscard]] std::string conversation_in(const captured_packet& packet) const
    {
        return conversation(link_, packet.bytes);
    }

private:
    link_type link_;
};

class line_sink final : public printing_sink {
public:
    using printing_sink::printing_sink;

    void put(const captured_packet& packet) override
    {
        constexpr std::uint64_t second = 1'000'000'000;
        const auto time = fmt::localtime(static_cast<std::time_t>(packet.time_ns / second));
        fmt::print("{:%H:%M:%S}.{:09} {} {} {:5} bytes  {}\n", time, packet.time_ns % second,
                   direction_of(packet), packet.queue, packet.length, conversation_in(packet));
    }
};

class json_sink final : public printing_sink {
public:
    using printing_sink::printing_sink;

    void put(const captured_packet& packet) override
    {
        ++captured_;
        const nlohmann::json line{{"time_ns", packet.time_ns},
                                  {"direction", direction_of(packet)},
                                  {"queue", packet.queue},
                                  {"bytes", packet.length},
                                  {"packet", conversation_in(packet)}};
        fmt::print("{}\n", line.dump());
    }
    void finish(std::uint64_t received, std::uint64_t missed) override
    {
        const nlohmann::json line{
            {"captured", captured_}, {"seen", received - missed}, {"missed", missed}};
        fmt::print("{}\n", line.dump());
        flush();
    }

private:
    std::uint64_t captured_ = 0;
};

}  // namespace

std::unique_ptr<packet_sink> open_pcapng(const std::string& file, const pcapng_interface& interface)
{
    return std::make_unique<pcapng_sink>(file, interface);
}

std::unique_ptr<packet_sink> print_lines(link_type link)
{
    return std::make_unique<line_sink>(link);
}

std::unique_ptr<packet_sink> print_json(link_type link)
{
    return std::make_unique<json_sink>(link);
}

}  // namespace cohort::tool
