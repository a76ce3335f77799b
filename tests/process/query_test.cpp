// State of a domain in JSON: over the action channel, as an observer, and as DPDK's client.

#include "cohort/ipc/socket.hpp"
#include "cohort/ipc/telemetry.hpp"
#include "cohort/port/xstats.hpp"
#include "process/living_domain.hpp"
#include "process/port_domain.hpp"
#include "support/eventually.hpp"
#include "support/member_process.hpp"
#include "support/scratch_domain.hpp"
#include "support/skip.hpp"
#include "support/stopped.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <sys/stat.h>

using namespace cohort;
using ipc::target;
using ipc::verdict;
using nlohmann::json;
using test::eventually;
using test::member_process;
using test::patience;
using test::scratch_domain;

namespace {

/// What stands under the path that was asked.
json answer_of(const std::string& text, const std::string& asked)
{
    const auto all = json::parse(text);
    REQUIRE(all.size() == 1);
    return all.at(asked.substr(0, asked.find(',')));
}

/// A client as DPDK's: bytes on a socket of that kind.
class telemetry_client {
public:
    explicit telemetry_client(const std::string& path)
        : socket_{ipc::connect_to(path, deadline_in(patience))}
    {
    }
    std::string read()
    {
        std::vector<std::byte> buffer(ipc::max_telemetry_bytes);
        REQUIRE(ipc::wait_readable(socket_.get(), deadline_in(patience)));
        const auto got = ipc::receive_message(socket_.get(), buffer);
        REQUIRE(got.status == ipc::received_message::status::message);
        return {reinterpret_cast<const char*>(buffer.data()), got.bytes};
    }
    std::string ask(const std::string& asked)
    {
        REQUIRE(ipc::send_message(socket_.get(), std::as_bytes(std::span{asked})));
        return read();
    }

private:
    file_descriptor socket_;
};

}  // namespace

TEST_CASE("every path that is listed answers with valid JSON under its own name and has help",
          "[actions][queries]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 0});
    const auto& queries = domain->queries();

    const auto paths = answer_of(queries.answer("/"), "/");

    for (const std::string path : {"/",
                                   "/help",
                                   "/info",
                                   "/members",
                                   "/lanes",
                                   "/ring/list",
                                   "/ring/info",
                                   "/ring/stages",
                                   "/mempool/list",
                                   "/mempool/info",
                                   "/mempool/holders",
                                   "/memzone/list",
                                   "/memzone/info",
                                   "/object/list",
                                   "/object/info",
                                   "/heap/list",
                                   "/heap/info",
                                   "/memseg/list",
                                   "/port/list",
                                   "/port/info",
                                   "/port/queues",
                                   "/action/list",
                                   "/audit",
                                   "/ethdev/list",
                                   "/ethdev/stats",
                                   "/ethdev/xstats",
                                   "/ethdev/info",
                                   "/ethdev/link_status"})
        CHECK(std::find(paths.begin(), paths.end(), path) != paths.end());
    for (const std::string path : paths) {
        INFO(path);
        CHECK_NOTHROW(answer_of(queries.answer(path + ",packets"), path));
        CHECK(answer_of(queries.answer("/help," + path), "/help").at(path).is_string());
    }
}

TEST_CASE("collectors of rte_ethdev find ports by number, with their counters, names and links",
          "[actions][queries][port]")
{
    scratch_domain domain;
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 0});
    auto port = domain->create_port("wire", "null:size=64,queues=2", {.rx_pool = "packets"});
    std::array<mbuf*, 8> burst;
    REQUIRE(port.rx_burst(1, burst) == 8);
    REQUIRE(port.tx_burst(0, std::span{burst}.first(3)) == 3);
    free_bulk(std::span{burst}.last(5));
    const auto number = port.layout().index;
    const auto ask = [&](const std::string& path) {
        const auto asked = "/ethdev/" + path + "," + std::to_string(number);
        return answer_of(domain->queries().answer(asked), asked);
    };

    CHECK(ask("list") == json{number});
    const auto stats = ask("stats");
    CHECK(stats.at("ipackets") == 8);
    CHECK(stats.at("ibytes") == 8 * 64);
    CHECK(stats.at("opackets") == 3);
    CHECK(stats.at("q_ipackets").size() == 16);
    CHECK(stats.at("q_ipackets").at(1) == 8);
    CHECK(stats.at("q_opackets").at(0) == 3);
    const auto named = ask("xstats");
    CHECK(named.size() == xstats(port).size());
    for (const auto& each : xstats(port))
        CHECK(named.at(each.name) == each.value);
    CHECK(ask("info").at("name") == "wire");
    CHECK(ask("info").at("nb_rx_queues") == 2);
    CHECK(ask("info").at("dev_started") == 1);
    CHECK(ask("info").at("rxq_state") == json{1, 1});
    CHECK(ask("link_status").at("status") == "UP");

    REQUIRE(port.reset_stats());
    port.stop();
    CHECK(ask("stats").at("ipackets") == 0);
    CHECK(ask("xstats").at("rx_q1_packets") == 0);
    CHECK(ask("info").at("rxq_state") == json{0, 0});
    CHECK(ask("link_status") == json{{"status", "DOWN"}});
    for (const std::string none : {"/ethdev/stats", "/ethdev/info,wire", "/ethdev/xstats,65535"})
        CHECK(answer_of(domain->queries().answer(none), none).is_null());
}

TEST_CASE("the link of a port at an interface is that of the interface, and null when it has gone",
          "[actions][queries][port]")
{
    COHORT_SKIP_UNLESS(test::scratch_network::possible(), test::scratch_network::missing);
    test::port_domain scratch{64};
    const auto port = scratch.make("af_packet:iface=near");
    const auto asked = "/ethdev/link_status," + std::to_string(port.layout().index);
    const auto link = [&] { return answer_of(scratch.domain().queries().answer(asked), asked); };

    CHECK(link().at("status") == "UP");
    CHECK(link().at("speed") == port.link().speed);
    test::scratch_network::run("ip link set near down");
    CHECK(link() == json{{"status", "DOWN"}});
    test::scratch_network::run("ip link del near");
    CHECK(link().is_null());
}

TEST_CASE("queries tell what is there, and null for what is not", "[actions][queries]")
{
    scratch_domain domain;
    domain->create_ring<int>("numbers", 100);
    domain->create_pktmbuf_pool("packets", {.count = 64, .cache_size = 0});
    domain->reserve_memzone("zone \"quoted\"", 4096);
    domain->create<int>("answer", 42);
    domain->actions().on("mine", [](ipc::message&) {});
    const auto ask = [&](const std::string& asked) {
        return answer_of(domain->queries().answer(asked), asked);
    };

    CHECK(ask("/ring/info,numbers").at("capacity") == 100);
    CHECK(ask("/ring/info,nothing").is_null());
    CHECK(ask("/mempool/info,packets").at("count") == 64);
    CHECK(ask("/mempool/holders,nothing").is_null());
    CHECK(ask("/memzone/list") == json::array({"zone \"quoted\""}));
    CHECK(ask("/memzone/info,zone \"quoted\"").at("bytes") == 4096);
    CHECK(ask("/object/list") == json::array({"answer"}));
    CHECK(ask("/object/info,answer").at("kind") == "object");
    CHECK(ask("/members").at(0).at("name") == "primary");
    CHECK(ask("/info").at("domain") == "scratch");
    CHECK(ask("/info").at("primary") == domain->self().id);
    CHECK(ask("/action/list").at(0).at("action") == "mine");
    CHECK(ask("/audit").at("clean") == true);
    CHECK(ask("/nothing").is_null());
}

TEST_CASE("a query of the user's own is answered beside the others, and a failing one says why",
          "[actions][queries]")
{
    scratch_domain domain;
    domain->register_query("/app/twice", "The parameter twice", [](std::string_view parameters) {
        return json(std::string{parameters} + std::string{parameters}).dump();
    });
    domain->register_query("/app/broken", "Fails", [](std::string_view) -> std::string {
        throw std::runtime_error{"it is \"broken\""};
    });
    const auto nothing = [](std::string_view) { return std::string{"1"}; };

    CHECK(answer_of(domain->queries().answer("/app/twice,a,b"), "/app/twice") == "a,ba,b");
    CHECK(answer_of(domain->queries().answer("/app/broken"), "/app/broken") == "it is \"broken\"");
    CHECK_THROWS_AS(domain->register_query("/app/twice", "", nothing), error);
    CHECK_THROWS_AS(domain->register_query("no/slash", "", nothing), error);
    CHECK_THROWS_AS(domain->register_query("/a,b", "", nothing), error);
    CHECK(domain->unregister_query("/app/twice"));
    CHECK(answer_of(domain->queries().answer("/app/twice"), "/app/twice").is_null());
}

TEST_CASE("any member answers queries of members, whether or not a primary lives",
          "[actions][queries]")
{
    test::living_domain domain;
    member_process a{"a", domain.name()};
    const auto asker = secondary::attach(domain.name(), patience, "asker");
    const auto ask_a = [&] {
        const auto given = asker->actions().request(target{"a"}, "/info", "", patience);
        return answer_of(std::string{given.text()}, "/info");
    };

    CHECK(ask_a().at("name") == "a");
    CHECK(ask_a().at("primary").is_number());
    domain.primary().kill();
    REQUIRE(eventually([&] { return !asker->primary_alive(); }));

    CHECK(ask_a().at("name") == "a");
    CHECK(ask_a().at("primary").is_null());
}

TEST_CASE("observers ask whoever answers: a primary that is stopped or dead silences nobody",
          "[actions][queries]")
{
    test::living_domain domain;
    member_process a{"a", domain.name()};
    a.tell("offer ping");
    const auto observer = secondary::observe(domain.name(), patience);
    const auto role = [&](steady_clock::duration timeout) {
        return answer_of(observer.query("/info", timeout), "/info").at("role");
    };

    CHECK(role(patience) == "primary");
    stop(domain.primary());
    CHECK(role(2s) == "secondary");
    domain.primary().kill(SIGCONT);
    domain.primary().kill();

    CHECK(role(patience) == "secondary");
    const auto to_a = observer.find_member("a").value();
    CHECK(observer.request(to_a, "ping", "x", patience).text() == "pong x");
    CHECK(observer.request(to_a, "nothing", "", patience).what == verdict::refused);
    CHECK_THROWS_AS(observer.query("/nothing", patience), error);
}

TEST_CASE("an observer gets replies of any size, descriptors too, and learns of a death",
          "[actions][queries]")
{
    test::living_domain domain;
    member_process a{"a", domain.name()};
    member_process dies{"dies", domain.name()};
    a.tell("offer-mirror mirror");
    a.tell("offer-large large 3000000");
    dies.tell("offer-death ping");
    const auto observer = secondary::observe(domain.name(), patience);
    const auto to_a = observer.find_member("a").value();
    const auto dying = observer.find_member("dies").value();
    const std::array fds{0, 1, 2};

    CHECK((observer.request(to_a, "large", "", patience).text() == std::string(3'000'000, 'l')));
    const auto mirrored = observer.request(to_a, "mirror", "text", patience, fds);
    CHECK(mirrored.text() == "text");
    CHECK(mirrored.fds.size() == 3);
    CHECK(observer.request(dying, "ping", "", patience).what == verdict::died);
}

TEST_CASE("cohort actions, query and call show and ask what members offer",
          "[actions][queries][tool]")
{
    scratch_domain domain;
    member_process a{"a"};
    a.tell("offer ping");
    const auto run = [&](std::vector<std::string> words) {
        words.insert(words.begin(), {"-d", "scratch"});
        auto tool = test::child_process::spawn("cohort", words);
        std::string shown;
        while (const auto line = tool.read_line(test::patience))
            shown += *line + "\n";
        const auto ended = tool.wait(test::patience);
        return std::pair{shown, ended ? ended->code : -1};
    };

    CHECK_THAT(run({"actions"}).first, Catch::Contains("ping"));
    CHECK(json::parse(run({"query", "/members"}).first).at("/members").size() == 2);
    CHECK(run({"call", "a", "ping", "hello"}) == std::pair{std::string{"pong hello\n"}, 0});
    CHECK(run({"call", "a", "nothing"}).second == 1);
    CHECK(run({"call", "nobody", "ping"}).second == static_cast<int>(errc::not_found));
}

TEST_CASE("DPDK's protocol is spoken at DPDK's place for the name of the domain",
          "[actions][queries][telemetry]")
{
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dpdk_telemetry = true}};
    domain->create_ring<int>("numbers", 100);
    telemetry_client client{ipc::telemetry_path("scratch")};

    const auto greeting = json::parse(client.read());

    CHECK(greeting.at("version").is_string());
    CHECK(greeting.at("pid") == ::getpid());
    CHECK(greeting.at("max_output_len").get<std::size_t>() == ipc::max_telemetry_bytes);
    CHECK(answer_of(client.ask("/ring/info,numbers"), "/ring/info").at("capacity") == 100);
    CHECK(answer_of(client.ask("/"), "/").size() > 18);
    CHECK(answer_of(client.ask("/nonsense"), "/nonsense").is_null());
    CHECK(json::parse(client.ask(std::string(1000, '\xff'))).size() == 1);
    domain->register_query("/app/huge", "More than fits", [](std::string_view) {
        return json(std::string(1'000'000, 'x')).dump();
    });
    CHECK_THAT(answer_of(client.ask("/app/huge"), "/app/huge").get<std::string>(),
               Catch::Contains("1000016 bytes"));
}

TEST_CASE("a live server at DPDK's place is not displaced, and debris there is",
          "[actions][queries][telemetry]")
{
    test::scratch_runtime_directory directory;
    const auto path = ipc::telemetry_path("edge");
    struct stat before {};
    struct stat after {};
    {
        const auto somebody = ipc::telemetry_socket::listen("edge");
        REQUIRE(somebody);
        REQUIRE(::stat(path.c_str(), &before) == 0);

        CHECK_FALSE(ipc::telemetry_socket::listen("edge"));

        REQUIRE(::stat(path.c_str(), &after) == 0);
        CHECK(before.st_ino == after.st_ino);
        CHECK(ipc::connect_to(path, deadline_in(patience)));
    }
    CHECK(::stat(path.c_str(), &after) != 0);

    std::filesystem::create_directories(std::filesystem::path{path}.parent_path());
    ::chmod(std::filesystem::path{path}.parent_path().c_str(), 0700);
    static_cast<void>(ipc::listen_at(path));  // closed at once: what a killed process leaves
    CHECK(ipc::telemetry_socket::listen("edge"));
}

TEST_CASE("the distribution's dpdk-telemetry.py works against a domain",
          "[actions][queries][telemetry]")
{
    COHORT_SKIP_UNLESS(std::filesystem::exists("/usr/bin/dpdk-telemetry.py"),
                       "dpdk-telemetry.py (package dpdk-dev)");
    scratch_domain domain{
        primary::start_options{.huge = huge_policy::none, .dpdk_telemetry = true}};
    domain->create_ring<int>("numbers", 100);
    auto client = test::child_process::spawn("/usr/bin/dpdk-telemetry.py", {"-f", "scratch"});
    client.tell("/ring/info,numbers");
    client.tell("quit");
    std::string shown;
    while (const auto line = client.read_line(test::patience))
        shown += *line + "\n";

    INFO(shown);
    CHECK(client.wait(test::patience) == test::exit_status{});
    CHECK(shown.find("\"capacity\": 100") != std::string::npos);
}
