#include "cohort/base/error.hpp"
#include "cohort/secondary/secondary.hpp"
#include "metrics.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

#ifdef COHORT_WITH_PROMETHEUS
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

namespace cohort::tool {
namespace {

class observed_domain : public prometheus::Collectable {
public:
    explicit observed_domain(std::string name) : name_{std::move(name)} {}

    /// Nothing while the domain cannot be looked at: it may be starting.
    [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override
    {
        std::vector<prometheus::MetricFamily> all;
        try {
            const auto seen = secondary::observe(name_, std::chrono::seconds{1});
            for (const auto& family : collect_metrics(name_, seen.region()))
                all.push_back(converted(family));
        } catch (const error&) {
        }
        return all;
    }

private:
    static prometheus::MetricFamily converted(const metric_family& family)
    {
        const bool counts = family.type == metric_type::counter;
        prometheus::MetricFamily made;
        made.name = family.name + (counts ? "_total" : "");
        made.help = family.help + ".";
        made.type = counts ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
        for (const auto& sample : family.samples) {
            prometheus::ClientMetric metric;
            for (const auto& [key, value] : sample.labels) {
                prometheus::ClientMetric::Label label;
                label.name = key;
                label.value = value;
                metric.label.push_back(label);
            }
            (counts ? metric.counter.value : metric.gauge.value) = sample.value;
            made.metric.push_back(std::move(metric));
        }
        return made;
    }

    std::string name_;
};

}  // namespace

void serve_metrics(const std::string& domain, const std::string& address)
{
    // Before the server's threads exist, so that they leave the signals to sigwait.
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&ends, signal);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    const auto served = std::make_shared<observed_domain>(domain);
    std::unique_ptr<prometheus::Exposer> server;
    try {
        server = std::make_unique<prometheus::Exposer>(address, 1);
    } catch (const std::exception& failure) {
        throw error{errc::invalid_argument,
                    fmt::format("cannot listen at {}: {}; name a free one, e.g. 127.0.0.1:9464",
                                address, failure.what())};
    }
    server->RegisterCollectable(served);
    for (const int port : server->GetListeningPorts())
        fmt::print("cohort: metrics of domain \"{}\" at port {}, path /metrics\n", domain, port);
    std::fflush(stdout);
    int signal = 0;
    sigwait(&ends, &signal);
}

}  // namespace cohort::tool
#else

namespace cohort::tool {

void serve_metrics(const std::string&, const std::string& address)
{
    throw error{errc::invalid_argument,
                fmt::format("--listen {}: this cohort was built without prometheus-cpp; build it "
                            "with -Dmetrics=enabled, or collect what \"cohort metrics\" prints",
                            address)};
}

}  // namespace cohort::tool
#endif
