#!/usr/bin/env bash
# Packets from a capture file through several processes to another capture file, without a copy between the
# processes. While they flow, one worker is killed with SIGKILL and another takes its place; not one packet is
# lost, doubled, or forwarded with the wrong TTL. examples/pipeline/README.md tells how.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
    cat <<'TEXT'
Usage: examples/quickstart.sh [options]

  --pcap FILE     capture to read: pcap or pcapng  (examples/captures/veth.pcap)
  --out FILE      keep the output there            (a temporary file, removed at the end)
  --workers N     number of workers, 1 to 16       (2)
  --loops N       how often to read the capture    (1 with --out, else as often as makes about 128 MiB)
  --no-kill       let all workers live
  --huge MODE     auto, 2M, 1G or none             (auto: 2 MiB pages if enough are free)
  --json          print the final report as JSON; everything else goes to standard error

Needs no rights and no hugepages. Builds into build-quickstart, unless COHORT_BUILD_DIR names a build.
Exit code 2: wrong options, or an input that is no capture. One that ends inside a record is read up to there, with a
warning and exit code 0.
A run in which the worker never holds packets (few flows, many workers) counts as well: "killed nobody".
TEXT
}

refuse() {
    echo "quickstart.sh: $1" >&2
    exit 2
}

pcap=$here/captures/veth.pcap out='' workers=2 loops='' kill=yes huge=auto report=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --help | -h) usage && exit 0 ;;
    --no-kill) kill=no && shift && continue ;;
    --json) report=(--json) && shift && continue ;;
    --pcap | --out | --workers | --loops | --huge) [[ $# -ge 2 ]] || refuse "$1 needs a value" ;;
    *) refuse "unknown option $1; see --help" ;;
    esac
    case $1 in
    --pcap) pcap=$2 ;;
    --out) out=$2 ;;
    --workers) workers=$2 ;;
    --loops) loops=$2 ;;
    --huge) huge=$2 ;;
    esac
    shift 2
done
[[ $workers =~ ^([1-9]|1[0-6])$ ]] || refuse "--workers takes 1 to 16, not $workers"
[[ -z $loops || $loops =~ ^[1-9][0-9]{0,8}$ ]] || refuse "--loops takes a number above 0, not $loops"
[[ -r $pcap && -f $pcap ]] || refuse "cannot read the file $pcap"

# All of standard output is the report when programs read it.
exec {result}>&1
[[ ${#report[@]} -eq 0 ]] || exec >&2

# --- build -------------------------------------------------------------------------------------

build() {
    local root log
    root=$(cd "$here/.." && pwd)
    "$root/.ci/dependencies.sh"
    build_dir=$root/build-quickstart
    [[ -w $build_dir || (! -e $build_dir && -w $root) ]] ||
        refuse "cannot write to $build_dir; set COHORT_BUILD_DIR to a build, or clone the repository anew"
    log=$scratch/build.log
    echo "building in build-quickstart"
    if ! { { [[ -f $build_dir/build.ninja ]] ||
        meson setup "$build_dir" "$root" -Dbuildtype=release -Dtests=false; } &&
        ninja -C "$build_dir" primary/cohortd examples/pipeline; } >"$log" 2>&1; then
        tail -n 50 "$log" >&2
        exit 1
    fi
}

# --- processes ---------------------------------------------------------------------------------

pids=()
clean_up() {
    local pid
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/cohort.XXXXXX")
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

start() { # a part of the pipeline in the background; its process id is in $started
    "$pipeline" "$1" --domain "$domain" "${@:2}" &
    started=$!
    pids+=("$started")
}

# Waits for one of ours to end by itself, and returns its exit code.
finish() { # pid, name
    local -i tries
    for ((tries = 0; tries < 6000; ++tries)); do
        if ! jobs -rp | grep -qx "$1"; then
            wait "$1"
            return
        fi
        sleep 0.05
    done
    echo "quickstart.sh: $2 did not end within 300 s" >&2
    return 1
}

start_primary() {
    local line
    mkfifo "$scratch/ready"
    # Should this script be killed, the primary ends too.
    setpriv --pdeathsig TERM "$cohortd" --domain "$domain" --memory 256M --huge "$huge" >"$scratch/ready" &
    primary=$!
    pids+=("$primary")
    exec {ready}<"$scratch/ready"
    if ! read -r -t 30 line <&"$ready"; then
        finish "$primary" cohortd || exit
        exit 1
    fi
    echo "$line"
}

stop_primary() {
    kill -TERM "$primary"
    finish "$primary" cohortd
}

run() {
    local slow=() index line writer killer watching killed=0 status=0 last=$((workers - 1))
    "$pipeline" setup --domain "$domain" --pcap "$pcap" --out "$out" --workers "$workers" --loops "$loops"
    start writer --name writer
    writer=$started
    # In a run that is over in a moment, the worker to be killed is a slow one.
    [[ $kill == no || $loops -gt 20 ]] || slow=(--linger-us 2000)
    for ((index = 0; index < last; ++index)); do
        start worker --name "worker.$index" --index "$index"
    done
    start worker --name "worker.$last" --index "$last" "${slow[@]}"
    if [[ $kill == yes ]]; then
        disown "$started" # the last worker: the shell need not announce how it ends
        mkfifo "$scratch/killer"
        exec {watching}<>"$scratch/killer"
        start await --member "worker.$last" --after-percent 20 --kill >&"$watching"
        killer=$started
        read -r -t 30 line <&"$watching" || true  # else packets may be through before it looks
    fi
    start reader --name reader
    echo "started reader, workers and writer, each a process"
    if [[ $kill == yes ]]; then
        finish "$killer" await || killed=$?
        if read -r -t 0.1 line <&"$watching"; then echo "$line"; fi
        if [[ $killed -eq 0 ]]; then
            start worker --name "worker.$last-again" --index "$last"
            echo "started worker.$last-again in its place"
        elif [[ $killed -ne 22 ]]; then
            status=$killed
        fi
    fi
    finish "$writer" writer || status=$?
    # When the writer has failed, that is the reason, and it has said so.
    [[ $killed -ne 22 || $status -ne 0 ]] ||
        echo "killed nobody: worker.$last held no packets in time; raise --loops"
    "$pipeline" report --domain "$domain" "${report[@]}" >&"$result" || status=$?
    return "$status"
}

build_dir=${COHORT_BUILD_DIR:-}
[[ -n $build_dir ]] || build
cohortd=$build_dir/primary/cohortd
pipeline=$build_dir/examples/pipeline
if [[ -n $out ]]; then
    loops=${loops:-1}  # what somebody keeps has each packet once
fi
out=${out:-$scratch/out.pcap}
if [[ -z $loops ]]; then
    # Long enough for a kill in the middle, and bounded for captures of a few bytes.
    loops=$((128 * 1024 * 1024 / ($(stat -c %s "$pcap") + 1) + 1))
    ((loops <= 20000)) || loops=20000
fi
export COHORT_RUNTIME_DIR=$scratch/run
domain=quickstart

start_primary
run
stop_primary
