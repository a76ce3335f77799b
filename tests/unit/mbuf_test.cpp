#include "cohort/packet/mbuf.hpp"

#include "support/byte_pattern.hpp"
#include "support/scratch_domain.hpp"

#include <numeric>
#include <vector>

#include <catch2/catch.hpp>

using namespace cohort;
using cohort::test::byte_pattern;
using cohort::test::scratch_domain;

TEST_CASE("a fresh packet is empty, sound, and has its headroom", "[packet]")
{
    scratch_domain domain;
    auto pool =
        domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8, .private_bytes = 16});

    auto* packet = pool.alloc();

    REQUIRE(packet);
    CHECK(find_fault(*packet, true) == nullptr);
    CHECK(packet->headroom() == mbuf_headroom);
    CHECK(packet->tailroom() == mbuf_default_data_room);
    CHECK(packet->private_area().size() == 16);
    CHECK(packet->buf_addr == packet->private_area().data() + 16);
    CHECK(packet->bytes().empty());
    free(packet);
    CHECK(domain.audit().clean());
}

TEST_CASE("append, prepend, adj and trim move the edges and refuse what does not fit", "[packet]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 0});
    auto* packet = pool.alloc();

    CHECK(packet->append(100).size() == 100);
    CHECK(packet->prepend(28).size() == 28);
    CHECK(packet->pkt_len == 128);
    CHECK(packet->append(mbuf_default_data_room).empty());
    CHECK(packet->prepend(101).empty());
    CHECK(packet->adj(20));
    CHECK(packet->trim(8));
    CHECK(packet->data_len == 100);
    CHECK_FALSE(packet->adj(101));
    CHECK_FALSE(packet->trim(101));
    CHECK(find_fault(*packet, true) == nullptr);
    free(packet);
}

TEST_CASE("a packet longer than a buffer is a chain that reads and writes as one", "[packet]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    const auto length = GENERATE(1u, 2047u, 2048u, 2049u, 9000u, 65000u);
    const auto bytes = byte_pattern(length);

    auto* packet = pool.alloc_chain(length);
    REQUIRE(packet);
    REQUIRE(write(*packet, 0, bytes));
    std::vector<std::byte> back(length);

    CHECK(read(*packet, 0, back));
    CHECK(back == bytes);
    CHECK(find_fault(*packet, true) == nullptr);
    CHECK_FALSE(read(*packet, 1, back));
    const auto middle = length / 2;
    std::vector<std::byte> part(length - middle);
    CHECK(read(*packet, middle, part));
    CHECK(std::equal(part.begin(), part.end(), bytes.begin() + middle));
    CHECK(domain.audit_of("p").followers == packet->nb_segs - 1u);
    free(packet);
    CHECK(domain.audit_of("p").held == 0);
    CHECK(domain.audit().clean());
}

TEST_CASE("a pool that runs dry half-way through a chain gives back what it took", "[packet]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 4, .cache_size = 0});

    CHECK(pool.alloc_chain(20000) == nullptr);

    CHECK(pool.objects().available() == 4);
    CHECK(domain.audit().clean());
}

TEST_CASE("freeing a mix of chains and single packets in bulk returns every segment", "[packet]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 256, .cache_size = 16});
    auto other = domain->create_pktmbuf_pool("q", {.count = 64, .cache_size = 0});
    std::vector<mbuf*> packets;
    for (std::size_t i = 0; i != 40; ++i)
        packets.push_back((i % 5 == 0 ? other : pool).alloc_chain(100 + 1500 * (i % 4)));
    packets.push_back(nullptr);

    free_bulk(packets);

    CHECK(pool.objects().available() == 256);
    CHECK(other.objects().available() == 64);
    CHECK(domain.audit().clean());
}

TEST_CASE("a long chain of buffers of two pools goes back to both, each buffer by itself",
          "[packet]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    auto other = domain->create_pktmbuf_pool("q", {.count = 64, .cache_size = 0});
    auto* head = pool.alloc();
    REQUIRE(head);
    for (std::size_t i = 1; i != 80; ++i) {  // 20 of one pool, 20 of the other, twice
        auto* segment = (i / 20 % 2 == 0 ? pool : other).alloc();
        REQUIRE(segment);
        REQUIRE(chain(*head, *segment));
    }

    free(head);

    CHECK(pool.objects().available() == 64);
    CHECK(other.objects().available() == 64);
    CHECK(domain.audit().clean());
    for (std::size_t i = 0; i != 128; ++i) {
        auto* packet = (i % 2 == 0 ? pool : other).objects().get();
        REQUIRE(packet);
        CHECK(static_cast<mbuf*>(packet)->is_plain());
        CHECK(static_cast<mbuf*>(packet)->nb_segs == 1);
    }
}

TEST_CASE("the sanity check names what is wrong", "[packet]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("p", {.count = 64, .cache_size = 0});
    auto* packet = pool.alloc_chain(5000);

    const auto broken = [&](auto change) {
        auto copy = *packet;
        change(copy);
        return std::string{find_fault(copy, true)};
    };
    CHECK(broken([](mbuf& m) { m.pkt_len += 1; }) == "pkt_len is not the sum of the segments");
    CHECK(broken([](mbuf& m) { m.nb_segs = 9; }) == "there are fewer segments than nb_segs");
    CHECK(broken([](mbuf& m) { m.nb_segs = 1; }) == "there are more segments than nb_segs");
    CHECK(broken([](mbuf& m) { m.refcnt = 0; }) == "the reference count is 0");
    CHECK(broken([](mbuf& m) { m.data_off = 60000; }) == "the data lies outside the buffer");
    free(packet);
}
