#pragma once
// The program tests/process/programs/member.cpp, driven by a test.

#include "support/child_process.hpp"
#include "support/eventually.hpp"

#include <string>

namespace cohort::test {

class member_process {
public:
    explicit member_process(const std::string& name, const std::string& domain = "scratch")
        : child_{child_process::spawn("member", {domain, name})}
    {
        child_.await("ready", patience);
    }

    /// Tells it and waits until it has done so.
    void tell(const std::string& command)
    {
        child_.tell(command);
        child_.await("done", patience);
    }
    /// Tells it and does not wait.
    void start(const std::string& command) { child_.tell(command); }
    void await_done() { child_.await("done", patience); }

    void leave()
    {
        child_.tell("leave");
        child_.await("left", patience);
        static_cast<void>(child_.wait(patience));
    }
    /// SIGKILL, and the kernel has let go of it.
    void kill()
    {
        child_.kill();
        static_cast<void>(child_.wait(patience));
    }
    [[nodiscard]] child_process& process() noexcept { return child_; }

private:
    child_process child_;
};

}  // namespace cohort::test
