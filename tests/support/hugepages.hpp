#pragma once

// Free hugepages for one test. Root may add what is missing; what was added is taken away again
// at scope exit. Whether it worked is for the test to ask:
//
//     const hugepages pages{4};
//     COHORT_SKIP_UNLESS(pages.available(), pages.missing());

#include "cohort/memory/page_size.hpp"

#include <cstdint>
#include <fstream>
#include <string>

namespace cohort::test {

class hugepages {
public:
    explicit hugepages(std::uint64_t wanted, page_size size = page_size::huge_2m)
        : wanted_{wanted}
        , size_{size}
    {
        if (const auto free = unreserved(); free < wanted_)
            add(wanted_ - free);
        available_ = unreserved() >= wanted_;
        if (!available_)
            remove_added();
    }

    ~hugepages() { remove_added(); }

    hugepages(const hugepages&) = delete;
    hugepages& operator=(const hugepages&) = delete;

    [[nodiscard]] bool available() const noexcept { return available_; }

    /// What is missing, for COHORT_SKIP_UNLESS.
    [[nodiscard]] std::string missing() const
    {
        return std::to_string(wanted_) + " free " + std::string{to_text(size_)} + " pages (" +
               std::to_string(unreserved()) + " are free; raise " + directory() +
               "/nr_hugepages or run as root)";
    }

private:
    [[nodiscard]] std::string directory() const
    {
        return "/sys/kernel/mm/hugepages/hugepages-" + std::to_string(bytes(size_) / 1024) + "kB";
    }

    [[nodiscard]] std::uint64_t read(const std::string& name) const
    {
        std::uint64_t value = 0;
        std::ifstream{directory() + "/" + name} >> value;
        return value;
    }

    void set_total(std::uint64_t pages) const
    {
        std::ofstream{directory() + "/nr_hugepages"} << pages << std::flush;
    }

    // A reserved page counts as free until it is touched.
    [[nodiscard]] std::uint64_t unreserved() const
    {
        const auto free = read("free_hugepages");
        const auto reserved = read("resv_hugepages");
        return free > reserved ? free - reserved : 0;
    }

    // The kernel adds as many as it finds memory for.
    void add(std::uint64_t pages)
    {
        const auto before = read("nr_hugepages");
        set_total(before + pages);
        added_ = read("nr_hugepages") - before;
    }

    // Relative, not "back to the old total": another run may have added some meanwhile.
    void remove_added()
    {
        if (added_ != 0)
            set_total(read("nr_hugepages") - added_);
        added_ = 0;
    }

    std::uint64_t wanted_;
    page_size size_;
    std::uint64_t added_ = 0;
    bool available_ = false;
};

}  // namespace cohort::test
