#!/usr/bin/env bash
# Builds the benchmarks for release, installs the peers where that is possible, and measures.
# Usage: tests/bench/run.sh [arguments of cohort_bench]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

.ci/dependencies.sh
# Absent peers leave their rows without a ratio; so nobody has to install them.
if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
    .ci/dependencies.sh peers || echo "the peers cannot be installed; their rows are left out" >&2
fi
build=${COHORT_BENCH_BUILD_DIR:-build-bench}
[[ -f $build/build.ninja ]] ||
    meson setup "$build" --buildtype=release -Db_ndebug=true -Dbenchmarks=true >/dev/null
ninja -C "$build" tests/bench/cohort_bench >&2
# The same program without custody, for the rows that say what custody costs.
if [[ $* != *--filter* || $* == *custody* ]]; then
    without=$build-without-custody
    [[ -f $without/build.ninja ]] ||
        meson setup "$without" --buildtype=release -Db_ndebug=true -Dbenchmarks=true \
            -Dcustody=false >/dev/null
    ninja -C "$without" tests/bench/cohort_bench >&2
    COHORT_BENCH_WITHOUT_CUSTODY=$(realpath "$without/tests/bench/cohort_bench")
    export COHORT_BENCH_WITHOUT_CUSTODY
fi
exec "$build/tests/bench/cohort_bench" "$@"
