#pragma once
// A domain's numbers for monitoring: OpenMetrics 1.0 text, once or over HTTP.

#include "cohort/domain/region_layout.hpp"

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace cohort::tool {

enum class metric_type { gauge, counter };

struct metric_sample {
    std::map<std::string, std::string> labels;
    double value = 0;
};

struct metric_family {
    std::string name;  ///< without "_total"
    std::string help;
    metric_type type = metric_type::gauge;
    std::vector<metric_sample> samples;
};

[[nodiscard]] std::vector<metric_family> collect_metrics(const std::string& domain,
                                                         const region_layout& region);

/// As application/openmetrics-text; ends with "# EOF".
[[nodiscard]] std::string to_openmetrics(const std::vector<metric_family>& families);

/// An array of families with name, help, type, and samples of labels and value.
[[nodiscard]] nlohmann::json to_json(const std::vector<metric_family>& families);

/// Serves them at http://ADDRESS/metrics until a signal ends the process; each answer looks at the
/// domain anew. Throws `errc::invalid_argument` when this build has no prometheus-cpp, and for an
/// address at which it cannot listen.
void serve_metrics(const std::string& domain, const std::string& address);

}  // namespace cohort::tool
