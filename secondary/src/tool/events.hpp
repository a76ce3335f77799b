#pragma once
// What happens in a domain, line by line.

#include "cohort/base/clock.hpp"
#include "cohort/domain/region_layout.hpp"

namespace cohort::tool {

enum class event_format { text, json };

/// Prints events until then, or until nobody reads any more. The first line says that it looks.
int print_events(const region_layout& region, event_format format, deadline until);

}  // namespace cohort::tool
