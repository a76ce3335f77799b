// The streams of a capture: what a writer publishes, a reader finds, whatever the lengths.

#include "cohort/port/capture_layout.hpp"

#include "cohort/primary/primary.hpp"
#include "support/packet_bytes.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/seed.hpp"

#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <string>

#include <catch2/catch.hpp>

namespace cohort::test {
namespace {

/// A capture of one stream, in memory of its own.
class one_stream {
public:
    one_stream()
        : place_{new (std::align_val_t{cache_line_bytes})
                     std::byte[sizeof(capture_layout) + capture_stream_bytes]{}}
        , layout_{*::new (place_.get()) capture_layout}
    {
        layout_.streams = 1;
        layout_.snap_length = max_capture_length;
    }
    [[nodiscard]] capture_layout& layout() noexcept { return layout_; }
    [[nodiscard]] capture_stream& stream() noexcept { return layout_.stream[0]; }

    /// Takes the first packet out; it must be there.
    std::string take()
    {
        for (;;) {
            const auto tail = stream().tail.load();
            REQUIRE(tail != stream().head.load());
            const auto* record =
                reinterpret_cast<const capture_record*>(layout_.bytes_of(0) + capture_place(tail));
            stream().tail = tail + record->bytes;
            if (record->captured != capture_record::filler)
                return {reinterpret_cast<const char*>(record + 1), record->captured};
        }
    }

private:
    struct freed {
        void operator()(std::byte* bytes) const noexcept
        {
            ::operator delete[](bytes, std::align_val_t{cache_line_bytes});
        }
    };
    std::unique_ptr<std::byte[], freed> place_;
    capture_layout& layout_;
};

}  // namespace

TEST_CASE("packets of all lengths and numbers of segments come out of a stream as they went in",
          "[capture]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("packets", {.count = 256, .cache_size = 0});
    one_stream capture;
    auto random = random_engine("capture");
    std::deque<std::string> model;
    std::uint64_t dropped = 0;

    for (std::uint64_t round = 0; round != scaled(6400, 20'000); ++round) {
        std::vector<mbuf*> burst;
        std::vector<std::string> texts;
        for (auto count = 1 + random() % 6; count != 0; --count) {
            texts.emplace_back(random() % 9000 + 1, static_cast<char>('a' + random() % 26));
            burst.push_back(packet_of(pool, texts.back()));
        }
        const auto accepted = random() % (burst.size() + 1);
        capture_writer writer{capture.layout(), 0};
        writer.write(burst);
        writer.commit(accepted);
        free_bulk(burst);
        const auto now_dropped = capture.stream().dropped.load();
        const auto kept = accepted - (now_dropped - dropped);
        dropped = now_dropped;
        model.insert(model.end(), texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(kept));
        REQUIRE(find_fault(capture.layout(), 0) == nullptr);
        for (auto count = random() % 3; count != 0 && !model.empty(); --count) {
            REQUIRE(capture.take() == model.front());
            model.pop_front();
        }
    }
    CHECK(dropped != 0);
    for (const auto& text : model)
        REQUIRE(capture.take() == text);
    CHECK(capture.stream().head.load() > 2 * capture_stream_bytes);  // it went round
}

TEST_CASE("what a writer has not committed is not there, and the next one writes over it",
          "[capture]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("packets", {.count = 8, .cache_size = 0});
    one_stream capture;
    auto* lost = packet_of(pool, "lost");
    auto* kept = packet_of(pool, "kept");
    capture_writer{capture.layout(), 0}.write({&lost, 1});

    CHECK(capture.stream().head.load() == 0);
    capture_writer next{capture.layout(), 0};
    next.write({&kept, 1});
    next.commit(1);

    CHECK(capture.take() == "kept");
    CHECK(capture.stream().head.load() == capture.stream().tail.load());
    free(lost);
    free(kept);
}

TEST_CASE("a record is as long as the packet was, never shorter than what it shows", "[capture]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("packets", {.count = 8, .cache_size = 0});
    one_stream capture;
    auto* packet = packet_of(pool, std::string(64, 'x'));
    const auto& record = *reinterpret_cast<capture_record*>(capture.layout().bytes_of(0));

    for (const auto& [on_wire, told] : std::vector<std::pair<std::uint32_t, std::uint32_t>>{
             {0, 64}, {60, 64}, {1500, 1500}}) {  // 60: a tag has been put in since
        packet->wire_len = on_wire;
        capture_writer{capture.layout(), 0}.write({&packet, 1});
        CHECK(record.captured == 64);
        CHECK(record.length == told);
    }
    free(packet);
}

TEST_CASE("a damaged stream is found out", "[capture]")
{
    scratch_domain domain;
    auto pool = domain->create_pktmbuf_pool("packets", {.count = 8, .cache_size = 0});
    one_stream capture;
    auto* packet = packet_of(pool, std::string(100, 'x'));
    capture_writer writer{capture.layout(), 0};
    writer.write({&packet, 1});
    writer.commit(1);
    free(packet);
    REQUIRE(find_fault(capture.layout(), 0) == nullptr);
    auto& record = *reinterpret_cast<capture_record*>(capture.layout().bytes_of(0));
    const auto sound = record;

    for (const std::uint32_t bytes : {0u, 31u, 48u, 192u, 0xffff'ffe0u}) {
        record.bytes = bytes;
        CHECK(find_fault(capture.layout(), 0) != nullptr);
    }
    record = sound;
    record.captured = 129;
    CHECK(find_fault(capture.layout(), 0) != nullptr);
    record = sound;
    capture.stream().tail = capture.stream().head.load() + 32;
    CHECK(find_fault(capture.layout(), 0) != nullptr);
}

}  // namespace cohort::test
