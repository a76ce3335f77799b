// The cohort command: what it prints for programs, and what it says of wrong words.

#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "process/shown_by.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/shared_piece.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace cohort::test {
namespace {

nlohmann::json json_of(const std::string& domain, const std::string& command,
                       const std::vector<std::string>& more = {})
{
    std::vector<std::string> words{"-d", domain, command, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    auto tool = child_process::spawn("cohort", words);
    std::string text;
    while (const auto line = tool.read_line(patience))
        text += *line + "\n";
    REQUIRE(tool.wait(patience) == exit_status{});
    return nlohmann::json::parse(text);
}

}  // namespace

TEST_CASE("in the JSON of the cohort command numbers are numbers and what is not there is null",
          "[tool]")
{
    const living_domain domain;

    const auto member = json_of(domain.name(), "ps").at(0);
    CHECK(member.at("up_s").is_number());
    CHECK(member.at("pid").is_number_integer());
    CHECK(member.at("actions").is_array());

    CHECK(json_of(domain.name(), "lanes").at(0).at("cpu").is_null());

    const auto memory = json_of(domain.name(), "memory");
    CHECK(memory.at("external_heaps").empty());
    for (const auto& first : {memory.at("lists").at(0), json_of(domain.name(), "zones").at(0)}) {
        CHECK(first.at("page") == "4 KiB");
        CHECK(first.at("page_bytes") == 4096);
        CHECK(first.at("address").is_string());
    }

    const auto report = json_of(domain.name(), "audit");
    CHECK(report.at("clean") == true);
    CHECK(report.at("pools").at(0).at("in_pool").is_number_integer());
    CHECK(report.at("faults").empty());

    for (const auto& ring : json_of(domain.name(), "rings"))
        for (const std::string side : {"producer", "consumer"}) {
            const auto mode = ring.at(side + "_mode").get<std::string>();
            CHECK((mode == "single" || mode == "multi"));
            CHECK((ring.at(side + "_lane").is_null() || ring.at(side + "_lane").is_number()));
            CHECK_FALSE(ring.contains(side + "s"));
        }
}

TEST_CASE("every view of the cohort command is JSON when it is asked for that", "[tool]")
{
    const living_domain domain;
    member_process a{"a", domain.name()};
    a.tell("offer ping");
    const std::vector<std::vector<std::string>> views{{"ps"},
                                                      {"deaths"},
                                                      {"lanes"},
                                                      {"zones"},
                                                      {"memory"},
                                                      {"heaps"},
                                                      {"blocks"},
                                                      {"rings"},
                                                      {"stages"},
                                                      {"pools"},
                                                      {"ports"},
                                                      {"queues"},
                                                      {"actions"},
                                                      {"audit"},
                                                      {"holders", "cohort.messages"},
                                                      {"reap", "--dry-run"},
                                                      {"metrics"},
                                                      {"query", "/"}};
    for (const auto& words : views) {
        INFO(words.front());
        CHECK_NOTHROW(json_of(domain.name(), words.front(), {words.begin() + 1, words.end()}));
    }

    const auto said = json_of(domain.name(), "call", {"a", "ping", "x"});
    CHECK(said.at("verdict") == "replied");
    CHECK(said.at("text") == "pong x");
    const auto families = json_of(domain.name(), "metrics");
    CHECK(families.at(0).at("name") == "cohort_members");
    CHECK(families.at(0).at("samples").at(0).at("value") == 2);
}

TEST_CASE(
    "cohort holders --older-than tells of buffers that stay in the same hands, cohort pools of "
    "growth",
    "[tool]")
{
    const living_domain domain;
    const auto member = secondary::attach(domain.name(), patience, "leaker");
    auto pool = member->create_empty_pktmbuf_pool("p", {.count = 64, .cache_size = 8});
    member->populate(pool.objects(), {.count = 20});
    member->populate(pool.objects(), {.count = 10});
    std::array<mbuf*, 5> leaked{};
    REQUIRE(pool.alloc_bulk(leaked));

    const auto holder = json_of(domain.name(), "holders", {"p"}).at(0);
    CHECK(holder.at("name") == "leaker");
    CHECK(holder.at("fresh") == 5);

    const auto old = json_of(domain.name(), "holders", {"p", "--older-than", "0.1"});
    REQUIRE(old.size() == 1);
    CHECK(old.at(0).at("name") == "leaker");
    CHECK(old.at(0).at("buffers") == 5);
    CHECK(old.at(0).at("oldest_s").is_number());
    for (const auto& shown : json_of(domain.name(), "pools"))
        if (shown.at("pool") == "p") {
            CHECK(shown.at("count") == 30);
            CHECK(shown.at("capacity") == 64);
            CHECK(shown.at("chunks") == 2);
        }

    for (auto* packet : leaked)
        free(packet);
    CHECK(json_of(domain.name(), "holders", {"p", "--older-than", "0.1"}).empty());
    check_refused(run("cohort", {"-d", domain.name(), "holders", "none", "--older-than", "1"}),
                  errc::not_found, {"none"});
}

TEST_CASE("the cohort command adds memory up by member and by type, and tells what it cannot see",
          "[tool][heap]")
{
    scratch_directory files;
    const shared_piece piece{files.path() / "piece"};  // outlives the domain
    scratch_domain domain;
    auto heap = domain->heap();
    member_process maker{"maker"};
    member_process mourned{"mourned"};
    const auto before = json_of("scratch", "memory");
    maker.tell("allocate routes 1000");
    maker.tell("allocate routes 2000");
    maker.tell("grow table 65536");
    mourned.tell("allocate flows 3000");
    mourned.tell("grow last 4096");
    auto* untyped = heap.malloc(100);
    domain->create_heap("own").add_memory(piece.bytes());
    mourned.kill();
    REQUIRE(eventually([&] { return !domain->actions().find_member("mourned"); }));

    const auto after = json_of("scratch", "memory");

    const auto row_of = [](const nlohmann::json& all, const char* section, const char* key,
                           const nlohmann::json& value) {
        for (const auto& each : all.at(section))
            if (each.at(key) == value)
                return each;
        FAIL("no row " << value);
        return nlohmann::json{};
    };
    const auto row = [&](const char* section, const char* key, const nlohmann::json& value) {
        return row_of(after, section, key, value);
    };
    const auto more_zone_bytes = [&](const nlohmann::json& now, const char* name) {
        return now.at("zone_bytes").get<std::uint64_t>() -
               row_of(before, "members", "name", name).at("zone_bytes").get<std::uint64_t>();
    };
    const auto makers = row("members", "name", "maker");
    CHECK(makers.at("member") == domain->actions().find_member("maker").value().id);
    CHECK(makers.at("zones") == 2);  // its inbox, and "table"
    CHECK(more_zone_bytes(makers, "maker") == 65536);
    CHECK(makers.at("blocks") == 2);
    CHECK(makers.at("block_bytes") == 1024 + 2016);
    const auto gone = row("members", "name", "gone");
    CHECK(more_zone_bytes(gone, "mourned") == 4096);
    CHECK(gone.at("blocks") == 1);
    CHECK(row("types", "type", "routes").at("blocks") == 2);
    CHECK(row("types", "type", "routes").at("bytes") == makers.at("block_bytes"));
    CHECK(row("types", "type", "flows").at("bytes") == 3024);
    CHECK(row("types", "type", nullptr).at("blocks") == 1);
    CHECK(row("external_heaps", "heap", "own").at("bytes") == piece_bytes - 96);
    const auto list = after.at("lists").at(0);
    CHECK(list.at("used").get<std::uint64_t>() + list.at("free").get<std::uint64_t>() ==
          list.at("bytes"));
    CHECK(list.at("used") > before.at("lists").at(0).at("used"));

    std::istringstream text{shown_by({"memory"})};
    for (std::string line; std::getline(text, line);)
        CHECK(line.size() <= 80);
    CHECK(heap.free(untyped));
}

TEST_CASE("the cohort command names a command that it does not know, and lists those it knows",
          "[tool][refusal]")
{
    const auto seen = run("cohort", {"bogus"});

    check_refused(seen, errc::invalid_argument, {"\"bogus\"", "ps, deaths, lanes", "audit"});
}

TEST_CASE("what the cohort command cannot print at once is refused in a sentence", "[tool]")
{
    const living_domain domain;
    const std::string second = GENERATE("--dump", "--dead", "--json");

    const auto seen = run("cohort", {"-d", domain.name(), "memory", "--map", second});

    check_refused(seen, errc::invalid_argument, {"--map", "excludes", "cohort --help"});
}

TEST_CASE("cohort memory draws what is used, free and a hole, on a terminal and as a picture",
          "[tool]")
{
    scratch_domain domain{8_MiB};
    domain->reserve_memzone("passing", 64_MiB);
    domain->reserve_memzone("used", 16_MiB);
    REQUIRE(domain->release_memzone("passing"));  // most of its pages go back
    const scratch_directory files;
    const auto picture = (files.path() / "memory.svg").string();

    const auto map = shown_by({"memory", "--map"});
    REQUIRE(run("cohort", {"-d", "scratch", "memory", "--svg", picture}).status == exit_status{});
    std::ifstream in{picture};
    const std::string svg{std::istreambuf_iterator<char>{in}, {}};

    const auto from = map.find('|') + 1;
    const auto row = map.substr(from, map.find('|', from) - from);
    INFO(map);
    CHECK(row.find_first_not_of("#-.") == std::string::npos);
    for (const char* cell : {"#", "-", "."})
        CHECK(row.find(cell) != std::string::npos);
    CHECK(svg.find("<svg ") == 0);
    CHECK(svg.find("</svg>") != std::string::npos);
    std::size_t cells = 0;
    for (auto at = svg.find("<rect "); at != std::string::npos; at = svg.find("<rect ", at + 1))
        ++cells;
    CHECK(cells != 0);
    CHECK(cells % row.size() == 0);  // each list has a row of as many

    const auto dump = shown_by({"memory", "--dump"});
    CHECK_THAT(dump, Catch::Contains("memzone    used"));
    check_refused(run("cohort", {"-d", "scratch", "memory", "--svg", "/nowhere/memory.svg"}),
                  errc::system, {"/nowhere/memory.svg", "name a file that can be written"});
}

TEST_CASE("cohort memory --dead shows the blocks whose members are gone, and no others", "[tool]")
{
    scratch_domain domain;
    auto* kept = domain->heap().malloc(100);
    REQUIRE(kept != nullptr);

    CHECK(shown_by({"memory", "--dead"}) == "no used blocks\n");
    domain->heap().free(kept);
}

TEST_CASE("the cohort command fails when its report cannot be written", "[tool]")
{
    scratch_domain domain;
    const auto tool =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../secondary/cohort";
    const std::string zones = GENERATE("few", "many");  // less than a buffer, and more
    for (int i = 0; zones == "many" && i != 100; ++i)
        domain->reserve_memzone("zone " + std::to_string(i), 64);

    const auto seen =
        run("/bin/sh", {"-c", "exec " + tool.string() + " -d scratch zones --json >/dev/full"});

    check_refused(seen, errc::system, {"standard output", "ENOSPC"});
}

}  // namespace cohort::test
