#pragma once
/// Questions about the state of a domain, answered in JSON by whichever member is asked, as DPDK's
/// telemetry does: a path, perhaps with parameters, "/ring/info,to_workers". `/` lists the paths,
/// and `/help,PATH` says what one answers. Ports are also found as collectors of rte_ethdev ask for
/// them, by number: "/ethdev/stats,3".
///
/// Members ask by a request for the action of that name, with the parameters as text; observers and
/// DPDK's client over a socket. An answer is an object with the path as its only key; null there
/// means that there is no such thing.
///
/// *Thread safety*: all calls from any thread.
/// *When a process dies here*: nothing of it is shared; another member answers the same.

#include "cohort/domain/domain.hpp"

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace cohort::ipc {

inline constexpr std::size_t max_query_bytes = 1024;  ///< path and parameters
/// The longest answer over DPDK's socket; it must fit the buffer of a unix socket.
inline constexpr std::size_t max_telemetry_bytes = 128 * 1024;

class queries {
public:
    /// Returns the JSON text of the answer; "null" when there is no such thing. What it throws
    /// becomes the answer.
    using handler = std::function<std::string(std::string_view parameters)>;

    /// The built-in ones: what every member knows of the region.
    explicit queries(domain& shared);
    queries(const queries&) = delete;
    queries& operator=(const queries&) = delete;

    /// A query of the user's own. Throws `exists`, and `invalid_argument` for a path that does not
    /// begin with "/", has a "," or is longer than 63.
    void on(std::string_view path, std::string_view help, handler asked);
    bool off(std::string_view path);

    [[nodiscard]] bool knows(std::string_view path) const;
    /// `asked` is "PATH" or "PATH,PARAMETERS". Never throws for what is asked.
    [[nodiscard]] std::string answer(std::string_view asked) const;

private:
    struct entry {
        std::string help;
        handler asked;
    };
    using report = std::function<nlohmann::json(std::string_view parameters)>;

    void add(std::string_view path, std::string_view help, report made);
    void add_reports();
    void add_lists();
    void add_self();
    void add_ethdev();
    [[nodiscard]] nlohmann::json about_this_member() const;

    domain& domain_;
    mutable std::mutex mutex_;  ///< guards entries_
    std::map<std::string, entry, std::less<>> entries_;
};

}  // namespace cohort::ipc
