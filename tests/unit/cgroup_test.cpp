#include "cohort/memory/cgroup.hpp"

#include "support/scratch_directory.hpp"

#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>

using namespace cohort;
namespace fs = std::filesystem;

namespace {

/// A tree like /sys/fs/cgroup.
class fake_cgroups {
public:
    [[nodiscard]] const fs::path& root() const { return directory_.path(); }
    void write(const std::string& file, const std::string& content) const
    {
        fs::create_directories((root() / file).parent_path());
        std::ofstream{root() / file} << content << '\n';
    }

private:
    test::scratch_directory directory_;
};

constexpr auto unlimited = std::numeric_limits<std::uint64_t>::max();

}  // namespace

TEST_CASE("a control group leaves the difference between its limit and what it uses", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/b/memory.max", "1000000");
    tree.write("a/b/memory.current", "400000");

    const auto seen = cgroup_headroom(tree.root(), "0::/a/b");

    CHECK(seen.headroom == 600'000);
    CHECK(seen.limit == 1'000'000);
    CHECK(seen.file == (tree.root() / "a/b/memory.max").string());
    CHECK(seen.forbids(600'001));
    CHECK_FALSE(seen.forbids(600'000));
}

TEST_CASE("the tightest of all groups around a process counts", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("memory.max", "9000");
    tree.write("memory.current", "1000");
    tree.write("a/memory.max", "5000");
    tree.write("a/memory.current", "4500");
    tree.write("a/b/memory.max", "4000");
    tree.write("a/b/memory.current", "10");

    CHECK(cgroup_headroom(tree.root(), "0::/a/b").headroom == 500);
    CHECK(cgroup_headroom(tree.root(), "0::/a").headroom == 500);
    CHECK(cgroup_headroom(tree.root(), "0::/").headroom == 8000);
}

TEST_CASE("a group that is absent or says max limits nothing", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/memory.max", "max");
    tree.write("a/memory.current", "4500");

    for (const auto* line : {"0::/a", "0::/elsewhere", "0::/", "0::/../../outside", "", "0",
                             "0:", "0::", "0::relative", "3:cpu:/a"}) {
        INFO('"' << line << '"');
        CHECK(cgroup_headroom(tree.root(), line).headroom == unlimited);
        CHECK(cgroup_headroom(tree.root(), line).file.empty());
    }
}

TEST_CASE("a group that uses more than its limit leaves nothing", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/memory.max", "1000");
    tree.write("a/memory.current", "4500");

    CHECK(cgroup_headroom(tree.root(), "0::/a").headroom == 0);
}

TEST_CASE("page cache is looked at only when the rest is not enough", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/memory.max", "10000");
    tree.write("a/memory.current", "4000");
    tree.write("a/memory.stat", "inactive_file 3000");
    const auto asked_for = [&](std::uint64_t enough) {
        return cgroup_headroom(tree.root(), "0::/a", page_size::small, enough);
    };

    CHECK(asked_for(6000).headroom == 6000);
    CHECK(asked_for(6001).headroom == 9000);
    CHECK_FALSE(asked_for(9000).forbids(9000));
    CHECK(asked_for(9001).forbids(9001));
}

TEST_CASE("the number by which version 1 says that there is no limit limits nothing", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("memory/a/memory.limit_in_bytes", "9223372036854771712");
    tree.write("memory/a/memory.usage_in_bytes", "650084352");

    const auto seen = cgroup_headroom(tree.root() / "memory", "4:memory:/a");

    CHECK(seen.headroom == unlimited);
    CHECK(seen.file.empty());
}

TEST_CASE("page cache, which the kernel takes back, does not count as used", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/memory.max", "10000");
    tree.write("a/memory.current", "9000");
    tree.write("a/memory.stat",
               "anon 1\nfile 4000\nshmem 1000\ninactive_file 2000\nactive_file 500");

    CHECK(cgroup_headroom(tree.root(), "0::/a").headroom == 3500);
}

TEST_CASE("hugepages have limits of their own", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/memory.max", "0");
    tree.write("a/memory.current", "0");
    tree.write("a/hugetlb.2MB.max", "8388608");
    tree.write("a/hugetlb.2MB.current", "2097152");

    const auto seen = cgroup_headroom(tree.root(), "0::/a", page_size::huge_2m);

    CHECK(seen.headroom == 6_MiB);
    CHECK(seen.file == (tree.root() / "a/hugetlb.2MB.max").string());
    CHECK(cgroup_headroom(tree.root(), "0::/a", page_size::huge_1g).headroom == unlimited);
}

TEST_CASE("groups of version 1 are asked by the names of their time", "[cgroup]")
{
    const fake_cgroups tree;
    tree.write("a/memory.limit_in_bytes", "10000");
    tree.write("a/memory.usage_in_bytes", "9000");
    tree.write("a/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\ntotal_active_file 500");

    CHECK(cgroup_headroom(tree.root(), "4:memory:/a").headroom == 3500);
    CHECK(cgroup_headroom(tree.root(), "4:cpu,memory:/a").headroom == 3500);
    CHECK(cgroup_headroom(tree.root(), "4:cpu:/a").headroom == unlimited);
}
