// Compiled once for each suite: what nearly every test includes. It halves the time of a test file.
#include "cohort/primary/primary.hpp"
#include "cohort/secondary/secondary.hpp"
#include "support/child_process.hpp"
#include "support/scratch_domain.hpp"

#include <catch2/catch.hpp>
#include <fmt/format.h>
