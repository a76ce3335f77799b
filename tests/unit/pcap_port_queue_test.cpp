// The queues of the pcap port: who may use them, how a successor carries on, and what happens when
// there is no room, here in the pool or there on the disk.

#include "unit/pcap_scratch.hpp"

#include <csignal>
#include <thread>

#include <sys/resource.h>

using namespace cohort;
using namespace cohort::test;

TEST_CASE("loops deliver the file as often as asked, and a successor carries on in the middle",
          "[port][pcap]")
{
    pcap_scratch scratch;
    auto from = scratch.create(scratch.reading(numbered(7)) + ",loops=3");
    std::vector<received> packets;

    // Two bursts in the first loop, one that reaches into the second, the rest: each by a lane of
    // its own.
    for (const std::size_t most : {2u, 3u, 5u, 1'000u})
        std::thread{[&] {
            for (auto& packet : receive_all(from, most))
                packets.push_back(std::move(packet));
        }}.join();

    REQUIRE(packets.size() == 21);
    for (std::size_t i = 0; i != packets.size(); ++i)
        CHECK(packets[i].payload == "packet " + std::to_string(i % 7));
    CHECK(from.layout().rx[0].packets.load() == 21);
}

TEST_CASE("a rate spreads packets evenly, and who comes late makes up for little", "[port][pcap]")
{
    pcap_scratch scratch;
    auto from = scratch.create(scratch.reading(numbered(100)) + ",rate=1000");
    std::array<mbuf*, 128> packets;

    const auto start = monotonic_ns();
    CHECK(from.rx_burst(0, std::span{packets}.first(1)) == 1);
    free(packets[0]);
    std::this_thread::sleep_for(60ms);
    const auto late = from.rx_burst(0, packets);
    free_bulk(std::span{packets}.first(late));
    CHECK(late >= 1);
    CHECK(late <= 40);  // 10 ms of arrears, and as many as the burst takes milliseconds
    const auto rest = receive_all(from);
    CHECK(rest.size() + late + 1 == 100);
    CHECK(monotonic_ns() - start >= 100'000'000 - 11'000'000);
    CHECK(from.rx_wait(0, deadline_in(1ms)) == rx_wake::nothing);
}

TEST_CASE("a successor goes on at the rate of its predecessor", "[port][pcap]")
{
    pcap_scratch scratch;
    auto from = scratch.create(scratch.reading(numbered(3)) + ",rate=20");
    const auto start = monotonic_ns();
    for (int packet = 0; packet != 3; ++packet)
        std::thread{[&] {
            mbuf* one = nullptr;
            while (from.rx_burst(0, {&one, 1}) == 0)
                static_cast<void>(from.rx_wait(0, deadline_in(10s)));
            free(one);
        }}.join();
    CHECK(monotonic_ns() - start >= 100'000'000);
    CHECK(from.rx_ended(0));
}

TEST_CASE("of a packet no more than the snap length crosses a pcap port", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto whole = std::string(40, 'w');
    const auto in = scratch.reading(capture_bytes::pcap().record(1, whole).record(2, "short"));
    auto through = scratch.create(in + ",snaplen=20,tx=" + scratch.file("cut.pcap").string());
    forward_all(through);
    auto again = scratch->create_port("again", "pcap:rx=" + scratch.file("cut.pcap").string(),
                                      {.rx_pool = "packets"});
    const auto packets = receive_all(again);
    REQUIRE(packets.size() == 2);
    CHECK(packets[0].payload == whole.substr(0, 20));
    CHECK(packets[0].wire_length == 40);
    CHECK(packets[1].payload == "short");
    CHECK(packets[1].wire_length == 0);
    CHECK(contents(scratch.file("cut.pcap"))[16] == 20);  // the header says it, too
    for (const auto* bad : {"rate=0", "rate=fast", "snaplen=13", "snaplen=262145"})
        CHECK(scratch.refusal_of(in + "," + bad) == errc::invalid_argument);
}

TEST_CASE("without a buffer no packet is lost, only late", "[port][pcap]")
{
    pcap_scratch scratch{{.count = 8, .cache_size = 0}};
    auto from = scratch.create(scratch.reading(numbered(10)));
    std::array<mbuf*, 16> packets;

    CHECK(from.rx_burst(0, packets) == 8);
    CHECK(from.rx_burst(0, std::span{packets}.last(8)) == 0);
    CHECK(from.layout().rx[0].no_buffer.load() == 2);
    free_bulk(std::span{packets}.first(8));

    REQUIRE(from.rx_burst(0, packets) == 2);
    CHECK(text_of(*packets[0]) == "packet 8");
    CHECK(text_of(*packets[1]) == "packet 9");
    CHECK(from.rx_ended(0));
}

TEST_CASE("a packet larger than the whole pool is an error and not a standstill", "[port][pcap]")
{
    pcap_scratch scratch{{.count = 4, .cache_size = 0}};
    auto from = scratch.create(scratch.reading(
        capture_bytes::pcap().record(1, std::string(9000, 'x')).record(2, "small")));

    const auto packets = receive_all(from);

    REQUIRE(packets.size() == 1);
    CHECK(packets[0].payload == "small");
    CHECK(from.layout().rx[0].errors.load() == 1);
}

TEST_CASE("a successor cuts off what its predecessor had not published", "[port][pcap]")
{
    pcap_scratch scratch;
    const auto out = scratch.file("out.pcap");
    auto through = scratch.create(scratch.reading(numbered(2)) + ",tx=" + out.string());
    std::array<mbuf*, 2> packets;
    REQUIRE(through.rx_burst(0, packets) == 2);
    std::thread{[&] { CHECK(through.tx_burst(0, std::span{packets}.first(1)) == 1); }}.join();

    std::ofstream{out, std::ios::app | std::ios::binary} << std::string(100, 'x');
    CHECK(through.tx_burst(0, std::span{packets}.last(1)) == 1);

    CHECK(contents(out) == numbered(2).text());
}

TEST_CASE("when the disk is full the packets stay with the caller and the file stays sound",
          "[port][pcap]")
{
    pcap_scratch scratch;
    const auto out = scratch.file("out.pcap");
    auto through = scratch.create(scratch.reading(numbered(4)) + ",tx=" + out.string());
    std::array<mbuf*, 4> packets;
    REQUIRE(through.rx_burst(0, packets) == 4);
    CHECK(through.tx_burst(0, std::span{packets}.first(2)) == 2);
    const auto good = contents(out);

    // A limit on file sizes stands in for a full disk; it cuts into the next record.
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit tight{.rlim_cur = good.size() + 20, .rlim_max = before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
    CHECK(through.tx_burst(0, std::span{packets}.last(2)) == 0);
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, SIG_DFL);

    CHECK(contents(out) == good);
    CHECK(through.layout().tx[0].errors.load() == 1);
    CHECK(through.layout().tx[0].last_errno.load() != 0);
    CHECK(through.tx_burst(0, std::span{packets}.last(2)) == 2);
    CHECK(contents(out) == numbered(4).text());
}

TEST_CASE("a queue serves one lane at a time", "[port][pcap]")
{
    pcap_scratch scratch;
    auto from = scratch.create(scratch.reading(numbered(3)));
    mbuf* packet = nullptr;
    REQUIRE(from.rx_burst(0, {&packet, 1}) == 1);
    free(packet);

    std::thread{[&] { CHECK(from.rx_burst(0, {&packet, 1}) == 0); }}.join();

    CHECK(receive_all(from).size() == 2);
}
