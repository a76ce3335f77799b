// What the cohort command shows of a domain at work: ports, what is to be reaped, rates, metrics.

#include "cohort/sync/owner_lock.hpp"
#include "process/attempt.hpp"
#include "process/living_domain.hpp"
#include "process/shown_by.hpp"
#include "support/member_process.hpp"
#include "support/scale.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

namespace cohort::test {
namespace {

/// A thread that passes numbers through a ring as fast as it can.
class busy_ring {
public:
    explicit busy_ring(domain& shared)
        : thread_{[this, &shared] {
            shared.enter_lane("busy");
            auto ring = shared.create_ring<std::uint64_t>("busy ring", 64);
            std::uint64_t number = 0;
            while (!stop_) {
                static_cast<void>(ring.enqueue(number) && ring.dequeue(number));
                ++passed;
            }
        }}
    {
    }
    ~busy_ring()
    {
        stop_ = true;
        thread_.join();
    }
    std::atomic<std::uint64_t> passed{0};

private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

nlohmann::json json_of(const std::vector<std::string>& command)
{
    return nlohmann::json::parse(shown_by(command));
}

}  // namespace

TEST_CASE("cohort top tells rates, fill, who holds most and how busy lanes are", "[tool][top]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});
    auto full = domain->create_ring<std::uint64_t>("half full", 8);
    for (std::uint64_t i = 0; i != 4; ++i)
        REQUIRE(full.enqueue(i));
    member_process holder{"holder"};
    holder.tell("take packets 20");
    const busy_ring busy{*domain};
    REQUIRE(eventually([&] { return busy.passed > 1000; }));

    const auto seen = json_of({"top", "--json", "--rounds", "1", "--interval", "0.3"});

    for (const auto& ring : seen.at("rings")) {
        if (ring.at("ring") == "busy ring")
            CHECK(ring.at("rate") > 100.0);
        if (ring.at("ring") == "half full")
            CHECK(ring.at("fill") == 0.5);
    }
    for (const auto& each : seen.at("pools"))
        if (each.at("pool") == "packets") {
            CHECK(each.at("holder") == "holder");
            CHECK(each.at("holding").get<int>() >= 20);
        }
    bool found = false;
    for (const auto& lane : seen.at("lanes"))
        if (lane.at("name") == "busy") {
            found = true;
            CHECK(lane.at("busy") > 0.01);
        }
    CHECK(found);
}

TEST_CASE("cohort top fits 80 by 24, however much there is to show", "[tool][top]")
{
    scratch_domain domain;
    for (int i = 0; i != 40; ++i)
        domain->create_ring<std::uint64_t>("a ring with a long name " + std::to_string(i), 8);
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});

    const auto tmux = [](const std::string& words) {
        const auto command = "tmux -L cohort-test-" + std::to_string(::getpid()) + " " + words;
        std::string text;
        if (FILE* pipe = ::popen(command.c_str(), "r")) {
            char buffer[4096];
            while (const auto got = std::fread(buffer, 1, sizeof buffer, pipe))
                text.append(buffer, got);
            ::pclose(pipe);
        }
        return text;
    };
    COHORT_SKIP_UNLESS(tmux("-V").starts_with("tmux"), "tmux");
    const auto tool =
        std::filesystem::read_symlink("/proc/self/exe").parent_path() / "../secondary/cohort";
    tmux("-f /dev/null new-session -d -x 80 -y 24 '" + tool.string() +
         " -d scratch top -i 0.1; echo ended; sleep 60'");

    std::string screen;
    const bool drawn = eventually([&] {
        screen = tmux("capture-pane -p");
        return screen.find("RING") != std::string::npos && screen.find("LANE") != std::string::npos;
    });
    INFO(screen);
    CHECK(drawn);
    CHECK(screen.find("cohort top  domain scratch") == 0);
    CHECK(screen.find("POOL") != std::string::npos);
    CHECK(screen.find("(+") != std::string::npos);  // says how much it does not show
    tmux("send-keys q");
    CHECK(eventually([&] { return tmux("capture-pane -p").starts_with("ended"); }));
    tmux("kill-server");
}

TEST_CASE("cohort top printed for pipes has no line longer than 80 characters", "[tool][top]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("a pool with a long name", {.count = 64, .cache_size = 8});
    std::istringstream text{shown_by({"top", "-n", "2", "-i", "0.02"})};
    int heads = 0;
    for (std::string line; std::getline(text, line);) {
        CHECK(line.size() <= 80);
        heads += line.starts_with("cohort top") ? 1 : 0;
    }
    CHECK(heads == 2);
}

TEST_CASE("cohort ports counts what went through a port", "[tool]")
{
    scratch_domain domain;
    const scratch_directory files;
    const auto out = (files.path() / "out.pcap").string();
    auto pool = domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});
    auto port = domain->create_port("wire", "pcap:tx=" + out, {.rx_pool = "packets"});
    std::vector<mbuf*> packets(5);
    REQUIRE(pool.alloc_bulk(packets));
    for (auto* packet : packets)
        REQUIRE_FALSE(packet->append(60).empty());
    REQUIRE(port.tx_burst(0, packets) == 5);

    const auto shown = json_of({"ports", "--json"}).at(0);

    CHECK(shown.at("port") == "wire");
    CHECK(shown.at("driver") == "pcap");
    CHECK(shown.at("tx_packets") == 5);
    CHECK(shown.at("tx_bytes") == 300);
    CHECK(shown.at("rx_packets") == 0);
    CHECK(shown.at("mtu").is_null());
    CHECK(shown.at("captured_by").is_null());
    const auto capture = domain->capture_port("wire", 100);
    CHECK(json_of({"ports", "--json"}).at(0).at("captured_by") == "primary");
    CHECK(shown.at("offloads").empty());
    port.set_offloads({.vlan_strip = true, .tx_prepare = true});
    CHECK(json_of({"ports", "--json"}).at(0).at("offloads") ==
          nlohmann::json{"vlan_strip", "tx_prepare"});
}

TEST_CASE("cohort queues names the member that polls a queue, and what went through it", "[tool]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});
    auto port = domain->create_port("wire", "null:size=100", {.rx_pool = "packets"});
    const auto rx = [] {
        const auto rows = json_of({"queues", "--json"});
        REQUIRE(rows.size() == 2);
        CHECK(rows.at(0).at("direction") == "rx");
        CHECK(rows.at(1).at("direction") == "tx");
        return rows.at(0);
    };
    const auto unclaimed = rx();
    CHECK(unclaimed.at("owner").is_null());
    CHECK(unclaimed.at("pool") == "packets");
    CHECK(unclaimed.at("ended") == false);
    CHECK(unclaimed.at("state") == "started");
    port.stop_rx(0);
    CHECK(rx().at("state") == "silent");
    port.start_rx(0);

    std::vector<mbuf*> packets(5);
    REQUIRE(port.rx_burst(0, packets) == 5);

    const auto claimed = rx();
    CHECK(claimed.at("owner") == "primary");
    CHECK(claimed.at("lane") == domain->members().lane());
    CHECK(claimed.at("packets") == 5);
    CHECK(claimed.at("bytes") == 500);
    port.stop();
    CHECK(json_of({"ports", "--json"}).at(0).at("state") == "stopped");
    free_bulk(packets);
}

TEST_CASE("cohort reap tells what the dead still hold, and nothing once it has been recovered",
          "[tool]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});
    member_process doomed{"doomed"};
    doomed.tell("take packets 20");
    auto& lock = domain->region().recovery.lock;
    REQUIRE(lock.lock(domain->members().lane(), deadline_in(patience),
                      [](lane_id) { return false; }) != lock_result::stalled);
    doomed.kill();

    nlohmann::json member;
    CHECK(eventually([&] {
        const auto shown = json_of({"reap", "--dry-run", "--json"});
        for (const auto& row : shown)
            if (row.at("kind") == "member")
                member = row;
        return !member.is_null();
    }));
    CHECK(member.at("name") == "doomed");
    CHECK(member.at("buffers").get<int>() >= 20);

    lock.unlock();
    CHECK(eventually([&] { return json_of({"reap", "--dry-run", "--json"}).empty(); }));
    check_refused(run("cohort", {"-d", "scratch", "reap"}), errc::invalid_argument,
                  {"members reap", "--dry-run"});
}

TEST_CASE("cohort metrics prints OpenMetrics text", "[tool][metrics]")
{
    scratch_domain domain;
    domain->create_ring<std::uint64_t>("odd \"name\"", 8);
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 8});

    const auto text = shown_by({"metrics"});

    // Each line is one of the forms of the OpenMetrics grammar, families are in one piece, counters
    // end in _total, and the text ends as it must.
    const std::regex sample{R"(([a-z_]+)\{([a-z_]+="([^"\\]|\\.)*"(,|(?=\})))*\} [-+0-9.e]+)"};
    const std::regex head{R"(# (TYPE|HELP) ([a-z_]+) .+)"};
    std::istringstream lines{text};
    std::set<std::string> families;
    std::string family;
    for (std::string line; std::getline(lines, line) && line != "# EOF";) {
        INFO(line);
        std::smatch parts;
        if (std::regex_match(line, parts, head)) {
            if (parts[1] == "TYPE")
                CHECK(families.insert(family = parts[2]).second);
            CHECK(parts[2] == family);
        } else {
            REQUIRE(std::regex_match(line, parts, sample));
            CHECK((parts[1] == family || parts[1] == family + "_total"));
        }
    }
    CHECK(text.ends_with("# EOF\n"));
    CHECK_THAT(text, Catch::Contains("cohort_members{domain=\"scratch\"} 1\n"));
    CHECK_THAT(text, Catch::Contains("ring=\"odd \\\"name\\\"\"} 8\n"));
    CHECK_THAT(text,
               Catch::Contains("cohort_pool_objects{domain=\"scratch\",pool=\"packets\"} 64"));
}

TEST_CASE("cohort metrics serves the numbers of the moment over HTTP", "[tool][metrics]")
{
    COHORT_SKIP_UNLESS(!slow_sanitizer,
                       "a build without a sanitizer: the server's threads have small stacks");
    const living_domain domain;
    auto server =
        child_process::spawn("cohort", {"-d", domain.name(), "metrics", "--listen", "127.0.0.1:0"});
    const auto line = server.read_line(patience);
    COHORT_SKIP_UNLESS(line, "a build with -Dmetrics=enabled");
    const auto port = std::stoi(line->substr(line->find(" at port ") + 9));

    const auto get = [&] {
        std::string text;
        const auto command = "exec 3<>/dev/tcp/127.0.0.1/" + std::to_string(port) +
                             "; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3";
        auto shell = child_process::spawn("/bin/bash", {"-c", command});
        while (const auto got = shell.read_line(patience))
            text += *got + "\n";
        return text;
    };
    CHECK_THAT(get(), Catch::Contains("200 OK") && Catch::Contains("cohort_members{") &&
                          Catch::Contains("} 1"));
    member_process member{"member", domain.name()};
    CHECK_THAT(get(), Catch::Contains("cohort_members{domain=\"alive\"} 2"));
    server.kill(SIGTERM);
    CHECK(server.wait(patience) == exit_status{});
}

}  // namespace cohort::test
