#pragma once
// TCP from one host to another, over several connections at once, each byte of which is compared
// with what was sent at its place.

#include "support/network_host.hpp"
#include "support/seed.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <list>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

class bulk_transfer {
public:
    struct options {
        const char* address;  ///< of the receiver
        std::size_t connections;
        std::size_t bytes;  ///< of each connection
    };
    bulk_transfer(const network_host& from, const network_host& to, const options& wanted)
        : bytes_{wanted.bytes}
    {
        auto random = random_engine("bulk_transfer");
        std::generate(text_.begin(), text_.end(), [&] { return static_cast<char>(random()); });
        for (std::size_t i = 0; i != wanted.connections; ++i)
            streams_.emplace_back(
                from, to, ipv4_address(wanted.address, static_cast<std::uint16_t>(7000 + i)),
                i * 4099);
    }

    /// False when it has not come to that after `longest`.
    [[nodiscard]] bool run_until_received(std::size_t wanted, std::chrono::seconds longest)
    {
        return run_until([&] { return received() >= wanted; }, longest);
    }
    /// Until each receiver has seen the end behind the last byte.
    [[nodiscard]] bool run_until_ended(std::chrono::seconds longest)
    {
        return run_until(
            [&] {
                return std::all_of(streams_.begin(), streams_.end(),
                                   [](const stream& each) { return each.ended; });
            },
            longest);
    }
    [[nodiscard]] std::size_t all() const noexcept { return bytes_ * streams_.size(); }
    [[nodiscard]] std::size_t received() const
    {
        std::size_t sum = 0;
        for (const auto& each : streams_)
            sum += each.received;
        return sum;
    }
    /// Of those received: bytes that are not what was sent at their place.
    [[nodiscard]] std::size_t damaged() const noexcept { return damaged_; }

private:
    struct stream {
        stream(const network_host& from, const network_host& to, const sockaddr_in& there,
               std::size_t shift)
            : text_at{shift}
            , listening{to.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)}
            , sending{from.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)}
        {
            const auto* address = reinterpret_cast<const sockaddr*>(&there);
            REQUIRE(::bind(listening, address, sizeof there) == 0);
            REQUIRE(::listen(listening, 1) == 0);
            REQUIRE(::connect(sending, address, sizeof there) == -1);
            REQUIRE(errno == EINPROGRESS);
        }
        ~stream()
        {
            for (const int each : {listening, sending, receiving})
                if (each >= 0)
                    ::close(each);
        }
        stream(const stream&) = delete;
        stream& operator=(const stream&) = delete;

        std::size_t text_at;  // of its first byte
        int listening;
        int sending;
        int receiving = -1;
        std::size_t sent = 0;
        std::size_t received = 0;
        bool ended = false;
    };

    [[nodiscard]] bool run_until(auto reached, std::chrono::seconds longest)
    {
        const auto until = std::chrono::steady_clock::now() + longest;
        while (!reached() && std::chrono::steady_clock::now() < until)
            if (!step())
                std::this_thread::sleep_for(std::chrono::microseconds{100});
        return reached();
    }
    /// True when something moved.
    bool step()
    {
        bool moved = false;
        for (auto& each : streams_) {
            moved = send(each) || moved;
            moved = receive(each) || moved;
        }
        return moved;
    }
    bool send(stream& to)
    {
        if (to.sending < 0)
            return false;
        const auto at = (to.text_at + to.sent) % text_.size();
        const auto count = std::min(bytes_ - to.sent, text_.size() - at);
        const auto done = ::send(to.sending, text_.data() + at, count, MSG_NOSIGNAL);
        if (done > 0)
            to.sent += static_cast<std::size_t>(done);
        if (to.sent == bytes_) {
            ::close(to.sending);  // the kernel goes on with what it has
            to.sending = -1;
        }
        return done > 0;
    }
    bool receive(stream& from)
    {
        if (from.receiving < 0)
            from.receiving =
                ::accept4(from.listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (from.receiving < 0 || from.ended)
            return false;
        std::array<char, 16'384> piece;
        const auto got = ::recv(from.receiving, piece.data(), piece.size(), 0);
        from.ended = got == 0;
        for (ssize_t i = 0; i < got; ++i)
            damaged_ += piece[static_cast<std::size_t>(i)] !=
                        text_[(from.text_at + from.received++) % text_.size()];
        return got >= 0;
    }

    std::size_t bytes_;
    std::vector<char> text_ = std::vector<char>(65'521);  // no packet's length divides that
    std::list<stream> streams_;
    std::size_t damaged_ = 0;
};

}  // namespace cohort::test
