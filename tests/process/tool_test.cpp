// The cohort command: what it prints for programs, and what it says of wrong words.

#include "process/attempt.hpp"
#include "process/living_domain.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace cohort::test {
namespace {

nlohmann::json json_of(const living_domain& domain, const std::string& command)
{
    auto tool = child_process::spawn("cohort", {"-d", domain.name(), command, "--json"});
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

    const auto member = json_of(domain, "ps").at(0);
    CHECK(member.at("up_s").is_number());
    CHECK(member.at("pid").is_number_integer());
    CHECK(member.at("actions").is_array());

    CHECK(json_of(domain, "lanes").at(0).at("cpu").is_null());

    for (const auto* command : {"memory", "zones"}) {
        const auto first = json_of(domain, command).at(0);
        CHECK(first.at("page") == "4 KiB");
        CHECK(first.at("page_bytes") == 4096);
        CHECK(first.at("address").is_string());
    }

    for (const auto& ring : json_of(domain, "rings"))
        for (const std::string side : {"producer", "consumer"}) {
            const auto mode = ring.at(side + "_mode").get<std::string>();
            CHECK((mode == "single" || mode == "multi"));
            CHECK((ring.at(side + "_lane").is_null() || ring.at(side + "_lane").is_number()));
            CHECK_FALSE(ring.contains(side + "s"));
        }
}

TEST_CASE("the cohort command names a command that it does not know, and lists those it knows",
          "[tool][refusal]")
{
    const auto seen = run("cohort", {"bogus"});

    check_refused(seen, errc::invalid_argument, {"\"bogus\"", "ps, deaths, lanes", "audit"});
}

}  // namespace cohort::test
