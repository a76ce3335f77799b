#include "packet_source.hpp"

#include "cohort/base/error.hpp"
#include "cohort/port/drivers.hpp"
#include "cohort/secondary/secondary.hpp"
#include "ring_watch.hpp"

#include <fmt/format.h>

#include <unistd.h>

namespace cohort::tool {
namespace {

const memzone_layout* find_zone(const region_layout& region, zone_kind kind,
                                const std::string& name)
{
    const memzone_layout* found = nullptr;
    for_each_live(region.memory, kind, [&](const memzone_layout& zone) {
        if (zone.name.view() == name)
            found = &zone;
    });
    return found;
}

class port_source final : public packet_source {
public:
    port_source(const std::string& domain, const std::string& name, std::uint32_t snap_length)
        : domain_{secondary::attach(domain, 5s, fmt::format("capture.{}", ::getpid()))}
        , capture_{domain_->capture_port(name, snap_length)}
    {
        if (const auto port = domain_->find_port(name))
            link_ = rx_link_of(port->layout());
    }
    std::optional<captured_packet> next() override { return capture_.next(); }
    bool is_there() const override { return capture_.is_on(); }
    std::uint64_t missed() const override { return capture_.dropped(); }
    link_type link() const override { return link_; }

private:
    std::unique_ptr<secondary::attachment> domain_;
    port_capture capture_;
    link_type link_{link_type::ethernet};
};

class ring_source final : public packet_source {
public:
    ring_source(secondary::observer observer, const memzone_layout& zone, std::uint32_t snap_length)
        : observer_{std::move(observer)}
        , watch_{observer_.region().memory, zone, snap_length}
    {
    }
    std::optional<captured_packet> next() override { return watch_.next(); }
    bool is_there() const override { return watch_.is_there(); }
    std::uint64_t missed() const override { return watch_.missed(); }
    link_type link() const override { return link_type::ethernet; }

private:
    secondary::observer observer_;
    ring_watch watch_;
};

}  // namespace

std::unique_ptr<packet_source> open_source(const std::string& domain, const std::string& name,
                                           std::uint32_t snap_length)
{
    bool is_port = false;
    {
        auto observer = secondary::observe(domain);
        is_port = find_zone(observer.region(), zone_kind::port, name) != nullptr;
        const auto* ring = find_zone(observer.region(), zone_kind::ring, name);
        if (ring && !is_port)
            return std::make_unique<ring_source>(std::move(observer), *ring, snap_length);
    }
    if (is_port)  // the window is free again
        return std::make_unique<port_source>(domain, name, snap_length);
    throw error{errc::not_found,
                fmt::format("there is no port and no ring \"{}\"; \"cohort ports\" and \"cohort "
                            "rings\" list them",
                            name)};
}

}  // namespace cohort::tool
