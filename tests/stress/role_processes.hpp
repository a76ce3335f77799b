#pragma once
// A pipeline of processes, one for each role, and this process as a member that watches them.

#include "cohort/base/log.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scratch_directory.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace cohort::test {

class role_processes {
public:
    static constexpr std::chrono::seconds patience{60};

    /// Starts `program ROLE` for each: "primary" before this process attaches, the others after it.
    role_processes(std::string program, const std::string& domain,
                   std::initializer_list<const char*> others)
        : program_{std::move(program)}
    {
        set_log_level(log_level::off);
        start("primary");
        watcher_ = secondary::attach(domain, 10s, "tester");
        for (const auto* role : others)
            start(role);
    }

    [[nodiscard]] secondary::attachment& operator*() noexcept { return *watcher_; }
    [[nodiscard]] secondary::attachment* operator->() noexcept { return watcher_.get(); }
    [[nodiscard]] const std::map<std::string, child_process>& all() const noexcept
    {
        return children_;
    }
    [[nodiscard]] audit_report audit_now() const { return audit(audited(watcher_->region())); }

    /// SIGKILL, and the kernel has let go of it. False when that takes too long.
    [[nodiscard]] bool kill(const std::string& role)
    {
        auto& process = children_.at(role);
        process.kill();
        return process.wait(patience).has_value();
    }
    void start_anew(const std::string& role)
    {
        children_.erase(role);
        start(role);
    }
    [[nodiscard]] bool kill_all()
    {
        for (auto& [role, process] : children_)
            process.kill();
        bool gone = true;
        for (auto& [role, process] : children_)
            gone = process.wait(patience).has_value() && gone;
        return gone;
    }

    /// This process is a member no longer.
    void leave() { watcher_.reset(); }

private:
    void start(const std::string& role)
    {
        auto child = child_process::spawn(program_, {role}, {"COHORT_LOG=off"});
        child.await("ready", patience);
        children_.emplace(role, std::move(child));
    }

    scratch_runtime_directory directory_;
    std::string program_;
    std::map<std::string, child_process> children_;
    std::unique_ptr<secondary::attachment> watcher_;
};

/// How many packets have come to the end of the endless flow of flow_member.
[[nodiscard]] inline std::uint64_t arrived(domain& with)
{
    const auto zone = with.find_memzone("arrived");
    return std::atomic_ref{*reinterpret_cast<std::uint64_t*>(zone.data())}.load();
}

/// True when they still arrive there.
[[nodiscard]] inline bool flows(domain& with)
{
    const auto before = arrived(with);
    return eventually([&] { return arrived(with) > before + 100; }, role_processes::patience);
}

}  // namespace cohort::test
