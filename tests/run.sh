#!/usr/bin/env bash
# Builds and runs the tests. The last line it prints is always `N passed, N failed, N skipped`,
# counted in test cases; the exit code is 0 only if something passed and nothing failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

usage() {
    cat <<'EOF'
Usage: tests/run.sh [--suite NAME]... [--sanitize KIND] [--filter TEXT] [--build-dir DIR]
                    [--build-only | --run-only]

  --suite NAME     unit, contract, process, fault, stress, examples, model, lint; may be repeated.
                   Without it: all of these; with a sanitizer neither model nor lint, and with
                   thread neither fault nor stress.
                   soak   the compiled suites at full counts (hours); fault beside the others
                   fuzz   the fuzz targets, built with clang
                   mutation  breaks one rule of the sources at a time, and the tests must notice
                   bench  the benchmarks, built for release; prints their tables
  --sanitize KIND  address, undefined, thread, or address,undefined
  --filter TEXT    only tests whose name contains TEXT, or that have the tag if it is "[tag]"
  --build-dir DIR  default: build, build-KIND, build-fuzz, build-mutation or build-bench
  --build-only     build what these suites need, run nothing
  --run-only       build nothing: what these suites need has been built

Environment:
  COHORT_TEST_SEED        repeats a run; it is printed by each
  COHORT_TEST_SCALE=full  full counts instead of reduced ones
  COHORT_TEST_TIMEOUT     seconds one test case may take
EOF
}

refuse() {
    echo "tests/run.sh: $1" >&2
    exit 2
}

compiled=(unit contract process fault stress)
suites=() sanitize='' filter='' build='' only_build='' only_run=''
while [[ $# -gt 0 ]]; do
    [[ $1 == --help || $1 == -h ]] && usage && exit 0
    [[ $1 == --build-only ]] && only_build=yes && shift && continue
    [[ $1 == --run-only ]] && only_run=yes && shift && continue
    [[ $# -ge 2 ]] || refuse "$1 needs a value, or is unknown; see --help"
    case $1 in
    --suite) suites+=("$2") ;;
    --sanitize) sanitize=$2 ;;
    --filter) filter=$2 ;;
    --build-dir) build=$2 ;;
    *) refuse "unknown option $1; see --help" ;;
    esac
    shift 2
done
case $sanitize in
'' | address | undefined | thread | address,undefined) ;;
*) refuse "--sanitize takes address, undefined, thread or address,undefined, not $sanitize" ;;
esac
# Lint and model read sources: a sanitizer would not change their answer. In fault and stress what
# orders two threads often lies in a third process, where the thread sanitizer does not see it.
if [[ ${#suites[@]} -eq 0 ]]; then
    suites=("${compiled[@]}" examples)
    [[ $sanitize != thread ]] || suites=(unit contract process examples)
    [[ -n $sanitize ]] || suites+=(model lint)
fi

suite_limit=1800
test_limit=300
[[ -z $sanitize ]] || test_limit=600
[[ -z $only_build || -z $only_run ]] || refuse "--build-only and --run-only exclude each other"
for suite in "${suites[@]}"; do
    case $suite in
    unit | contract | process | fault | stress | examples | model | lint) ;;
    soak | fuzz | mutation | bench) [[ ${#suites[@]} -eq 1 ]] || refuse "--suite $suite stands alone" ;;
    *) refuse "there is no suite $suite; see --help" ;;
    esac
done
kind=plain
case ${suites[0]} in
soak) export COHORT_TEST_SCALE=full ;;
fuzz | mutation | bench) kind=${suites[0]} ;;
esac
if [[ ${COHORT_TEST_SCALE:-} == full ]]; then
    suite_limit=$((12 * 3600))
    test_limit=$((3 * 3600))
fi

if [[ -z $build ]]; then
    build=build
    [[ -z $sanitize ]] || build=build-${sanitize//,/-}
    [[ $kind == plain ]] || build=build-$kind
fi

export COHORT_TEST_TIMEOUT=${COHORT_TEST_TIMEOUT:-$test_limit}
export COHORT_TEST_SEED=${COHORT_TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
echo "COHORT_TEST_SEED=$COHORT_TEST_SEED"

passed=0 failed=0 skipped=0

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [[ $failed -eq 0 && $passed -gt 0 ]] || exit 1
    exit 0
}

# --- build -------------------------------------------------------------------------------------

# Runs a step of the build. Its output is shown on a terminal, or if it fails.
build_step() { # name command...
    local name=$1
    shift
    if [[ -t 1 ]]; then
        "$@" && return
    else
        "$@" >"$logs/$name.log" 2>&1 && return
        tail -n 200 "$logs/$name.log"
    fi
    echo "FAILED $name ($build)"
    failed=$((failed + 1))
    finish
}

configure() {
    local options=(-Dtests=true -Dtools=true -Dexamples=true)
    case $kind in
    plain) options+=(-Dfault_points=true) ;;
    fuzz)
        # clang's sanitizers are linked into programs only, hence b_lundef.
        options+=(-Dfuzz=true -Dfault_points=true "-Db_sanitize=address,undefined" -Db_lundef=false
            -Doptimization=1 -Dwerror=false)
        export CC=clang CXX=clang++
        ;;
    esac
    [[ -z $sanitize ]] || options+=("-Db_sanitize=$sanitize" -Doptimization=1)
    # Most of a run is compiling: line numbers are enough for reports. Instrumented code makes g++ warn
    # of what is not there, so the plain build alone warns.
    local flags=-g1
    [[ -z $sanitize ]] || flags+=" -w"
    options+=(-Ddebug=false "-Dcpp_args=$flags")

    local wanted="${options[*]}" configured=''
    [[ ! -f $logs/options ]] || configured=$(<"$logs/options")
    if [[ ! -f $build/build.ninja ]]; then
        build_step configure meson setup "$build" "${options[@]}"
    elif [[ $wanted != "$configured" ]]; then
        build_step configure meson configure "$build" "${options[@]}"
    fi
    echo "$wanted" >"$logs/options"
}

compile() {
    local targets=() suite
    build_step configure ninja -C "$build" build.ninja  # a new suite exists only after this
    for suite in "${suites[@]}"; do
        case $suite in
        soak) targets=("${compiled[@]/%/_suite}") ;;
        examples) targets=(all) && break ;;
        model | lint) ;;
        *) targets+=("${suite}_suite") ;;
        esac
    done
    [[ ${#targets[@]} -eq 0 ]] || build_step compile ninja -C "$build" "${targets[@]}"
}

# --- run ---------------------------------------------------------------------------------------

# log_path catches reports of helper programs too. A segmentation fault stays a plain signal, as
# in a build without sanitizers, because tests look for it.
set_sanitizer_options() { # log path
    local common="log_path=$1:log_exe_name=1:handle_segv=0:handle_sigbus=0:handle_sigfpe=0"
    export ASAN_OPTIONS="$common:exitcode=99:detect_leaks=1"
    export UBSAN_OPTIONS="$common:print_stacktrace=1"
    export TSAN_OPTIONS="$common:exitcode=99:die_after_fork=0:second_deadlock_stack=1"
}

# g++ 12's thread sanitizer wants less address space randomisation than some kernels have.
launcher=()
if [[ $sanitize == thread && $(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28) -gt 28 ]] &&
    setarch -R true 2>/dev/null; then
    launcher=(setarch -R)
fi

how_it_ended() { # exit status
    case $1 in
    124) echo "was killed after $suite_limit s" ;;
    129 | 1[3-9]?) echo "died of SIG$(kill -l "$1")" ;;
    *) echo "ended with exit code $1" ;;
    esac
}

count() { # results log of a suite, what to count
    grep -c "^$2 " "$1" || true
}

report() { # suite, its passed, failed, skipped, seconds
    echo "$1: $2 passed, $3 failed, $4 skipped ($5 s)"
    passed=$((passed + $2))
    failed=$((failed + $3))
    skipped=$((skipped + $4))
}

run_compiled() { # suite
    local suite=$1 program=$build/tests/$1_tests log=$logs/$1.log results=$logs/$1.results
    local -i status=0 bad since=$SECONDS
    local select=() reports=() open='' complaint='' each

    if [[ $filter == \[* ]]; then
        select=("$filter")
    elif [[ -n $filter ]]; then
        select=("*$(sed 's/[][,\\"]/\\&/g' <<<"$filter")*")
    fi
    rm -f "$logs/$suite.sanitizer."*
    : >"$results"
    set_sanitizer_options "$logs/$suite.sanitizer"
    COHORT_TEST_RESULTS=$results timeout --kill-after=10 "$suite_limit" \
        "${launcher[@]}" "$program" --warn NoAssertions --order rand --rng-seed "$COHORT_TEST_SEED" \
        "${select[@]}" >"$log" 2>&1 </dev/null || status=$?

    bad=$(count "$results" failed)
    open=$(awk '{open = ""} /^started /{open = substr($0, 9)} END{print open}' "$results")
    shopt -s nullglob
    # A thread that a test lost on purpose cannot be suspended for the leak check, and a process that
    # a test kills may be in the middle of its own: no findings.
    for each in "$logs/$suite.sanitizer."*; do
        grep -Eqv 'was not suspended. False leaks are possible.$|Unable to get registers from thread [0-9]+.$' \
            "$each" || rm "$each"
    done
    reports=("$logs/$suite.sanitizer."*)
    shopt -u nullglob
    [[ ${#reports[@]} -eq 0 ]] || complaint=yes
    # The undefined behaviour sanitizer writes to standard error if another one is there too.
    ! grep -q '^[^ ]*: runtime error: ' "$log" || complaint=yes
    sed -n "s/^failed /FAILED $suite: /p" "$results"
    if [[ -n $open ]]; then
        bad+=1
        echo "FAILED $suite: $open: the suite $(how_it_ended $status) in it; the rest did not run"
    elif ! grep -q '^finished' "$results" || [[ $status -ne 0 && $bad -eq 0 ]]; then
        bad+=1
        echo "FAILED $suite: the suite $(how_it_ended $status)"
    elif [[ $status -gt 1 ]]; then
        echo "note: the suite $(how_it_ended $status)"
    elif [[ -n $complaint && $bad -eq 0 ]]; then
        bad+=1
        echo "FAILED $suite: a sanitizer complained"
    fi
    [[ $bad -eq 0 ]] || tail -n 400 "$log"
    [[ ${#reports[@]} -eq 0 ]] || head -n 100 "${reports[@]}"
    sed -n "s/^skipped /skipped $suite: /p" "$results"
    report "$suite" "$(count "$results" passed)" "$bad" "$(count "$results" skipped)" \
        $((SECONDS - since))
}

# Runs one program as one test. Exit code 77 means skipped, its last line says why.
good=0 bad=0 left=0
run_program() { # suite, name, seconds, command...
    local suite=$1 name=$2 limit=$3 log=$logs/$1-${2//[\/ ]/-}.log status=0
    shift 3
    [[ $name == *"$filter"* ]] || return 0
    set_sanitizer_options "$log.sanitizer"
    rm -f "$log.sanitizer."*
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
    if [[ $status -eq 0 ]] && ! compgen -G "$log.sanitizer.*" >/dev/null; then
        good=$((good + 1))
        [[ $suite != bench ]] || cat "$log"
    elif [[ $status -eq 77 ]]; then
        left=$((left + 1))
        echo "skipped $suite: $name: $(tail -n 1 "$log")"
    else
        bad=$((bad + 1))
        tail -n 200 "$log"
        ! compgen -G "$log.sanitizer.*" >/dev/null || head -n 100 "$log.sanitizer."*
        echo "FAILED $suite: $name ended with exit code $status (124: took longer than $limit s)"
    fi
}

# An example proves itself by a script run.sh beside it; COHORT_BUILD_DIR has the programs.
run_examples() {
    local script part parts since=$SECONDS
    export COHORT_BUILD_DIR=$build
    for script in examples/*/run.sh; do
        mapfile -t parts < <("$script" --parts)
        for part in "${parts[@]}"; do
            run_program examples "$script $part" 300 "$script" "$part"
        done
    done
    run_program examples examples/quickstart.sh 300 examples/quickstart.sh
    report examples "$good" "$bad" "$left" $((SECONDS - since))
}

# A model explores every state that its bounds allow; what it must find out is in check.sh.
run_model() {
    local part since=$SECONDS
    for part in $(tests/model/check.sh --parts); do
        run_program model "$part" 300 tests/model/check.sh "$part"
    done
    report model "$good" "$bad" "$left" $((SECONDS - since))
}

run_fuzz() {
    local source name since=$SECONDS runs=20000 corpus
    [[ ${COHORT_TEST_SCALE:-} != full ]] || runs=20000000
    for source in tests/fuzz/*_fuzz.cpp; do
        name=$(basename "$source" .cpp)
        [[ -f $source ]] || continue
        corpus=$logs/corpus-$name
        mkdir -p "$corpus"
        [[ ! -d tests/fuzz/corpus/$name ]] || cp -rn "tests/fuzz/corpus/$name/." "$corpus"
        run_program fuzz "$name" "$suite_limit" "$build/tests/$name" "-runs=$runs" -timeout=10 \
            "-seed=$COHORT_TEST_SEED" "-artifact_prefix=$logs/$name-" "$corpus"
    done
    report fuzz "$good" "$bad" "$left" $((SECONDS - since))
}

run_bench() {
    local since=$SECONDS
    export COHORT_BENCH_BUILD_DIR=$build
    run_program bench cohort_bench "$suite_limit" tests/bench/run.sh --check
    report bench "$good" "$bad" "$left" $((SECONDS - since))
}

last_counts() { # a file that ends as this script does
    sed -n '$s/ passed, \| failed, \| skipped$/ /gp' "$1"
}
# A program that prints PASS, FAIL or SKIP a test, and last the three numbers.
run_counted() { # suite, seconds, command...
    local suite=$1 limit=$2 log=$logs/$1.log since=$SECONDS counts=()
    shift 2
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 || true
    read -ra counts <<<"$(last_counts "$log")"
    if [[ ${#counts[@]} -ne 3 ]]; then
        cat "$log"
        echo "FAILED $suite: $1 did not finish"
        counts=(0 1 0)
    else
        sed -e '$d' -e '/^PASS/d' -e '/^note:/d' "$log"
    fi
    report "$suite" "${counts[@]}" $((SECONDS - since))
}

# Hours: what takes longest runs beside the rest, but for the suite that measures idle time.
run_soak() {
    local beside=$logs/soak.log counts=() suite options=()
    [[ -z $sanitize ]] || options+=(--sanitize "$sanitize")
    [[ -z $filter ]] || options+=(--filter "$filter")
    tests/run.sh --run-only --build-dir "$build" --suite fault "${options[@]}" >"$beside" 2>&1 &
    for suite in unit contract stress; do
        run_compiled "$suite"
    done
    wait
    read -ra counts <<<"$(last_counts "$beside")"
    if [[ ${#counts[@]} -eq 3 ]]; then
        sed '$d' "$beside"
    else
        cat "$beside"
        echo "FAILED fault: it did not finish"
        counts=(0 1 0)
    fi
    passed=$((passed + counts[0]))
    failed=$((failed + counts[1]))
    skipped=$((skipped + counts[2]))
    run_compiled process
}
run_lint() { run_counted lint "$suite_limit" tests/lint/run.sh "$filter"; }
run_mutation() { run_counted mutation $((3 * 3600)) tests/mutation/check.py "$build" "$filter"; }

packages=(tests)
[[ $kind != fuzz ]] || packages+=(fuzz)
[[ $kind != bench ]] || packages+=(peers)  # a target without its peer counts as missed
.ci/dependencies.sh "${packages[@]}" || { failed=1 && finish; }
mkdir -p "$build/test-logs"
build=$(cd "$build" && pwd)
logs=$build/test-logs
# bench builds by itself, for release; mutation builds broken copies.
if [[ -z $only_run && ! ${suites[*]} =~ ^(lint|model|mutation|bench)$ ]]; then
    echo "building in ${build#"$root"/}"
    configure
    compile
fi
[[ -z $only_build ]] || exit 0
for suite in "${suites[@]}"; do
    case $suite in
    examples | model | soak | fuzz | mutation | bench | lint) good=0 bad=0 left=0 && "run_$suite" ;;
    *) run_compiled "$suite" ;;
    esac
done
finish
