#pragma once
// The calling thread without some rights.

#include <array>
#include <initializer_list>

#include <catch2/catch.hpp>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace cohort::test {

/// The calling thread, and no other, has the given capabilities no more until scope exit.
class without_capability {
public:
    explicit without_capability(std::initializer_list<unsigned> which)
    {
        REQUIRE(::syscall(SYS_capget, &head_, before_.data()) == 0);
        auto less = before_;
        for (const auto one : which)
            less.at(one / 32).effective &= ~(1u << (one % 32));
        REQUIRE(::syscall(SYS_capset, &head_, less.data()) == 0);
    }
    ~without_capability() { ::syscall(SYS_capset, &head_, before_.data()); }
    without_capability(const without_capability&) = delete;
    without_capability& operator=(const without_capability&) = delete;

private:
    __user_cap_header_struct head_{_LINUX_CAPABILITY_VERSION_3, 0};
    std::array<__user_cap_data_struct, 2> before_{};
};

}  // namespace cohort::test
