// Compiled once for each suite: it saves about two seconds in every test file.
#include <catch2/catch.hpp>
