#pragma once
// A domain of its own for one test: a primary in this process under a scratch runtime directory.

#include "cohort/primary/primary.hpp"
#include "support/scratch_directory.hpp"

#include <memory>
#include <utility>

namespace cohort::test {

class scratch_domain {
public:
    explicit scratch_domain(std::size_t memory = 16_MiB)
        : owner_{primary::start({.name = "scratch", .memory = memory, .huge = huge_policy::none})}
    {
    }

    /// Of that name all the same, under a runtime directory of its own.
    explicit scratch_domain(primary::start_options options) : owner_{start(std::move(options))} {}

    [[nodiscard]] primary::owner& operator*() noexcept { return *owner_; }
    [[nodiscard]] primary::owner* operator->() noexcept { return owner_.get(); }

    /// A clean audit of everything, at rest or not.
    [[nodiscard]] audit_report audit() const { return cohort::audit(owner_->mapping()); }
    [[nodiscard]] pool_audit audit_of(std::string_view pool) const
    {
        for (const auto& sums : audit().pools)
            if (sums.name == pool)
                return sums;
        return {};
    }

private:
    static std::unique_ptr<primary::owner> start(primary::start_options options)
    {
        options.name = "scratch";
        return primary::start(options);
    }

    scratch_runtime_directory directory_;
    std::unique_ptr<primary::owner> owner_;
};

}  // namespace cohort::test
