#pragma once

// A domain for one test, served by a cohortd of its own in a rendezvous directory of its own, and
// what an observer sees of it.

#include "cohort/secondary/secondary.hpp"
#include "support/child_process.hpp"
#include "support/eventually.hpp"
#include "support/scratch_directory.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cohort::test {

/// Starts cohortd and waits for its word that the domain is ready (or adopted).
[[nodiscard]] inline child_process start_cohortd(const std::string& domain,
                                                 std::vector<std::string> options = {})
{
    options.insert(options.begin(), {"--domain", domain, "--memory", "8M"});
    if (std::find(options.begin(), options.end(), "--huge") == options.end())
        options.insert(options.end(), {"--huge", "none"});
    auto started = child_process::spawn("cohortd", options);
    const auto line = started.read_line(patience);
    if (!line || line->find("cohortd: domain") != 0)
        throw std::runtime_error{"cohortd did not start: " + line.value_or("no line")};
    return started;
}

[[nodiscard]] inline std::size_t live_members(const region_layout& region)
{
    return static_cast<std::size_t>(std::count_if(
        std::begin(region.members.members), std::end(region.members.members),
        [](const auto& member) { return member.word().state == member_state::live; }));
}

/// True when each live member has the lanes of its main thread and its dispatcher: from then on a
/// domain in which nobody does anything does not change.
[[nodiscard]] inline bool is_settled(const region_layout& region)
{
    std::size_t lanes = 0;
    for (const auto& lane : region.members.lanes)
        lanes += lane.word().state == lane_state::live ? 1 : 0;
    return lanes == 2 * live_members(region);
}

/// The bytes of a domain: its control region and all committed memory. Left out is the word of each
/// mailbox bell, which says whether a dispatcher sleeps at that moment.
[[nodiscard]] inline std::vector<std::byte> bytes_of(const region_layout& region)
{
    std::vector<std::byte> bytes(region.header.region_bytes);
    std::memcpy(bytes.data(), static_cast<const void*>(&region), bytes.size());
    for (std::size_t i = 0; i != max_members; ++i) {
        const auto bell = offsetof(region_layout, members) +
                          offsetof(member_table_layout, members) + i * sizeof(member_layout) +
                          offsetof(member_layout, mailbox_bell);
        std::memset(bytes.data() + bell, 0, sizeof(doorbell_layout));
    }
    for (const auto& list : region.memory.lists) {
        if (list.page_bytes == 0)
            continue;
        const page_map map{list};
        map.for_each_run([&](page_run run) {
            const std::span pages{reinterpret_cast<const std::byte*>(list.base) +
                                      run.from * list.page_bytes,
                                  run.count() * list.page_bytes};
            bytes.insert(bytes.end(), pages.begin(), pages.end());
        });
    }
    return bytes;
}

/// Where two captures of a domain differ first; nothing when they are equal.
[[nodiscard]] inline std::optional<std::ptrdiff_t> first_difference(
    const std::vector<std::byte>& before, const std::vector<std::byte>& after)
{
    const auto at = std::mismatch(before.begin(), before.end(), after.begin(), after.end()).first;
    if (at == before.end() && before.size() == after.size())
        return std::nullopt;
    return at - before.begin();
}

/// A rendezvous directory and a cohortd in it, both gone at scope exit.
class living_domain {
public:
    explicit living_domain(std::string name = "alive", std::vector<std::string> options = {})
        : name_{std::move(name)}
        , primary_{std::in_place, start_cohortd(name_, std::move(options))}
    {
        const auto seen = observe();
        if (!eventually([&] { return is_settled(seen.region()); }))
            throw std::runtime_error{"the domain does not come to rest"};
    }

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::filesystem::path root() const { return directory_.path(); }
    [[nodiscard]] std::filesystem::path directory() const { return root() / name_; }
    [[nodiscard]] std::string socket() const { return directory() / "primary.sock"; }
    [[nodiscard]] child_process& primary() noexcept { return *primary_; }
    /// Another process is the primary from now on.
    void follow(child_process next)
    {
        primary_.reset();
        primary_.emplace(std::move(next));
    }
    [[nodiscard]] secondary::observer observe() const
    {
        return secondary::observe(name_, patience);
    }

private:
    scratch_runtime_directory directory_;
    std::string name_;
    std::optional<child_process> primary_;
};

/// What is in /dev/shm under cohort's names.
[[nodiscard]] inline std::set<std::string> shared_memory_objects()
{
    std::set<std::string> found;
    for (const auto& file : std::filesystem::directory_iterator{"/dev/shm"})
        if (const auto name = file.path().filename().string(); name.starts_with("cohort"))
            found.insert(name);
    return found;
}

/// True once nothing of cohort is in /dev/shm that was not there before. Other tests may run beside
/// this one: theirs exist for a few instructions.
[[nodiscard]] inline bool await_no_new_object(const std::set<std::string>& before)
{
    return eventually([&] {
        const auto now = shared_memory_objects();
        return std::includes(before.begin(), before.end(), now.begin(), now.end());
    });
}

}  // namespace cohort::test
