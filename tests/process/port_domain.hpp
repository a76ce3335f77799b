#pragma once
// A network, and a domain in it whose ports are made, or refused with a sentence.

#include "cohort/base/error.hpp"
#include "cohort/primary/primary.hpp"
#include "support/scratch_directory.hpp"
#include "support/scratch_network.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

namespace cohort::test {

/// In the pool of most of these tests.
inline constexpr std::uint32_t buffers = 64;

/// A primary in this process with a pool "packets" of `count` buffers.
class port_domain {
public:
    explicit port_domain(std::uint32_t count)
        : pool_{domain_->create_pktmbuf_pool("packets", {.count = count, .cache_size = 0})}
    {
    }

    [[nodiscard]] primary::owner& domain() noexcept { return *domain_; }
    [[nodiscard]] pktmbuf_pool& pool() noexcept { return pool_; }
    port make(const std::string& spec, const port_options& options = {.rx_pool = "packets"})
    {
        return domain_->create_port("wire", spec, options);
    }
    /// Why no port is made of `spec`, in one sentence with these words; there is none then, and it
    /// has no buffer.
    [[nodiscard]] errc refusal_of(const std::string& spec, const port_options& options,
                                  const std::vector<std::string>& words)
    {
        const auto before = pool_.objects().in_use();
        try {
            domain_->create_port("bad", spec, options);
        } catch (const error& refused) {
            const std::string sentence = refused.what();
            INFO(sentence);
            CHECK(sentence.find('\n') == std::string::npos);
            for (const auto& word : words)
                CHECK(sentence.find(word) != std::string::npos);
            CHECK_FALSE(domain_->find_port("bad"));
            CHECK(pool_.objects().in_use() == before);
            return refused.reason();
        }
        return errc{};
    }

private:
    scratch_network network_;
    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> domain_{
        primary::start({.name = "ports", .memory = 16_MiB, .huge = huge_policy::none})};
    pktmbuf_pool pool_;
};

}  // namespace cohort::test
