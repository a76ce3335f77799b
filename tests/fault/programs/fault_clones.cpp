#include "fault_clones.hpp"

#include "cohort/packet/mbuf_clone.hpp"
#include "cohort/packet/mbuf_copy.hpp"
#include "cohort/packet/mbuf_external.hpp"
#include "support/eventually.hpp"

#include <stdexcept>
#include <string>

namespace cohort::test {
namespace {

void require(bool condition, const std::string& what)
{
    if (!condition)
        throw std::runtime_error{what};
}

constexpr std::uint32_t bound_by_all = 1;
constexpr std::uint32_t bound_by_others = 2;

void forget(std::span<std::byte>, std::uint64_t, external_call) noexcept
{
}

/// Shows memory of its own in a packet and its clone, and frees both.
void show_external(pktmbuf_pool& pool, std::span<std::byte> memory, std::uint32_t function)
{
    auto& info = *::new (memory.data()) external_info;
    info.function = function;
    auto* packet = pool.alloc();
    require(packet && attach_external(*packet, memory.subspan(64, 1024), info), "not attached");
    auto* copied = clone(*packet, pool.objects());
    require(copied != nullptr, "the pool is empty");
    free(packet);
    free(copied);
}

}  // namespace

void bind_what_all_bind()
{
    bind_external_free(bound_by_all, forget);
}

void bind_everything()
{
    bind_what_all_bind();
    bind_external_free(bound_by_others, forget);
}

void use_clones(domain& self)
{
    auto pool = self.find_pktmbuf_pool("plain").value();
    auto zone = self.find_memzone("brought");
    if (!zone)
        zone = self.reserve_memzone("brought", 8192);
    bind_what_all_bind();
    for (int round = 0; round != 2; ++round) {
        auto* packet = pool.alloc_chain(3000);
        require(packet != nullptr, "the pool is empty");
        auto* one = clone(*packet, pool.objects());
        auto* two = one ? clone(*one, pool.objects()) : nullptr;
        require(two != nullptr, "the pool is empty");
        free(packet);
        free(two);
        free(one);
        auto* straight = pool.alloc();
        for (int i = 0; i != 2; ++i) {
            auto* segment = pool.alloc_chain(100);
            require(segment && chain(*straight, *segment), "the pool is empty");
        }
        require(linearize(*straight), "a chain stays one");
        require(self.give(*straight, self.self()), "this member lives");
        keep(*straight);
        require(take(*straight), "a kept packet is there");
        free(straight);
        show_external(pool, zone.bytes().first(4096), bound_by_all);
        show_external(pool, zone.bytes().subspan(4096), bound_by_others);
        // The info there is used again when somebody has freed that buffer.
        const auto& waits = self.region().members.external_waits;
        require(eventually([&] { return waits == 0; }), "external memory is not freed");
    }
}

void use_dynamics(domain& self)
{
    const auto field = self.register_dynfield<std::uint32_t>("number");
    require(self.find_dynfield("number") == field.offset(), "a field is gone");
    const auto bit = self.register_dynflag({.name = "marked"});
    require(self.find_dynflag("marked") == bit, "a flag is gone");
}

void hold_clones(domain& self, pktmbuf_pool& pool, mbuf& received, mbuf& one, mbuf& other)
{
    require(clone(received, pool.objects()) != nullptr, "the pool is empty");
    auto* packet = pool.alloc_chain(100);
    require(packet && clone(*packet, pool.objects()) != nullptr, "the pool is empty");
    free(packet);
    auto& members = self.members();
    auto& record = members.members().references(members.lane());
    static_cast<void>(
        record.begin(one.share, other.share, reinterpret_cast<std::uint64_t>(&one) | 2));
}

}  // namespace cohort::test
