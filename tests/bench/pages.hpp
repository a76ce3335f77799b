#pragma once
// 2 MiB pages: what the kernel takes to zero them, touching them, and where DPDK wants them.

#include "support/scratch_directory.hpp"

#include <chrono>
#include <cstddef>
#include <span>
#include <string>

#include <sched.h>

namespace cohort::bench {

using clock = std::chrono::steady_clock;

[[nodiscard]] inline double milliseconds_since(clock::time_point start)
{
    return std::chrono::duration<double, std::milli>(clock::now() - start).count();
}

[[nodiscard]] inline double microseconds_since(clock::time_point start)
{
    return milliseconds_since(start) * 1e3;
}

void pin_to(int processor);

/// Keeps the thread on one processor until scope exit.
class pinned {
public:
    explicit pinned(int processor);
    ~pinned();
    pinned(const pinned&) = delete;
    pinned& operator=(const pinned&) = delete;

private:
    cpu_set_t before_{};
};

/// Milliseconds in which the kernel zeroes that much, on processor 0: the median of three times
/// after a first one, so that it finds the same pages as warm as whoever takes them next. Throws
/// when there are too few.
[[nodiscard]] double zeroing_ms(std::size_t bytes);

/// One byte of each page: it is in this process's page table afterwards.
void read_pages(std::span<std::byte> memory);
void write_pages(std::span<std::byte> memory);

/// DPDK wants its pages from a mounted file system, and leaves files behind.
class hugetlbfs {
public:
    /// `prefix` is the --file-prefix of those who use it.
    explicit hugetlbfs(std::string prefix);
    ~hugetlbfs();
    hugetlbfs(const hugetlbfs&) = delete;
    hugetlbfs& operator=(const hugetlbfs&) = delete;

    [[nodiscard]] std::string path() const { return directory_.path(); }
    [[nodiscard]] const std::string& prefix() const noexcept { return prefix_; }
    /// Gives back what processes that are gone have left, so that none starts by removing it.
    void wipe() const;

private:
    test::scratch_directory directory_;
    std::string prefix_;
    bool mounted_;
};

}  // namespace cohort::bench
