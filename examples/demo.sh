# Sourced by the demos of the examples: a domain "demo" in a directory of its own, and what the demo starts, all of
# which ends with it. Needs the programs in $COHORT_BUILD_DIR.
build=$(realpath "${COHORT_BUILD_DIR:-build}")

# All of the demo happens in a network namespace that ends with it.
in_own_network() { # the demo's arguments
    [[ ${COHORT_DEMO_NETWORK:-} == own ]] || COHORT_DEMO_NETWORK=own exec unshare --net -- "$0" "$@"
}

scratch='' pids=()
at_end() {
    [[ ${#pids[@]} -eq 0 ]] || kill -KILL "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$scratch"
}

start() { # command...
    setpriv --pdeathsig KILL "$@" &
    pids+=("$!")
}
kill_now() { # pid
    { kill -KILL "$1" && wait "$1"; } 2>/dev/null || true
}

start_primary() {
    scratch=$(mktemp -d)
    trap at_end EXIT
    export COHORT_RUNTIME_DIR=$scratch
    mkfifo "$scratch/ready"
    exec {ready}<>"$scratch/ready"
    start "$build/primary/cohortd" --domain demo --memory 64M --huge none >"$scratch/ready"
    read -r -t 30 _ <&"$ready"
}
audit() { "$build/secondary/cohort" --domain demo audit; }
