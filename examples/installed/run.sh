#!/usr/bin/env bash
# Proves that a program of somebody else's gets at cohort: the two of README.md are compiled against an installed
# copy by what pkg-config says, and run; and a project that has the checkout as its Meson subproject is set up.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=examples/prove.sh
source "$here/../prove.sh"
need meson pkg-config c++

grep -q '"name": "b_sanitize", "value": "none"' "$COHORT_BUILD_DIR/meson-info/intro-buildoptions.json" ||
    { echo "needs a build without a sanitizer" && exit 77; }

scratch=$(mktemp -d)
trap 'kill -KILL $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

# The blocks of C++ in README.md, in their order: first.cpp is the primary, second.cpp the secondary.
awk -v to="$scratch" '/^```cpp$/ {file = to (++n == 1 ? "/first.cpp" : "/second.cpp"); next}
                      /^```$/ {file = ""}
                      file != "" {print > file}' "$root/README.md"

meson install -C "$COHORT_BUILD_DIR" --no-rebuild --destdir "$scratch/copy" >"$scratch/log" 2>&1 ||
    fail "meson install: $(tail -n 5 "$scratch/log")"
installed=$(find "$scratch/copy" -name cohort.pc)
[[ -n $installed ]] || fail "no cohort.pc is installed"
prefix=$scratch/copy$(sed -n 's/^prefix=//p' "$installed")
flags() {
    PKG_CONFIG_PATH=$(dirname "$installed") pkg-config --define-variable=prefix="$prefix" "$@" cohort
}
for program in first second; do
    # shellcheck disable=SC2046
    c++ -std=c++20 $(flags --cflags) "$scratch/$program.cpp" -o "$scratch/$program" $(flags --libs) \
        >"$scratch/log" 2>&1 || fail "the $program program of README.md does not build: $(head -n 20 "$scratch/log")"
done
echo "ok     both programs of README.md build against an installed copy"

export COHORT_RUNTIME_DIR=$scratch/run
mkfifo "$scratch/enter"
"$scratch/first" <"$scratch/enter" &
first=$!
exec {enter}>"$scratch/enter"
until [[ -S $COHORT_RUNTIME_DIR/edge/primary.sock ]]; do
    kill -0 "$first" || fail "the first program ended"
    sleep 0.05
done
(exec {enter}>&- && exec "$scratch/second") &
second=$!
cohort=$prefix/bin/cohort
for _ in {1..200}; do
    [[ $("$cohort" -d edge ps) != *second* ]] || break
    sleep 0.05
done
echo >&"$enter"
[[ $("$cohort" -d edge call primary hello) == "from the primary" ]] || fail "the action of the first program does not answer"
[[ $("$cohort" -d edge audit) == *clean ]] || fail "the audit is not clean"
exec {enter}>&-
wait "$first" || fail "the first program ended with $?"
wait "$second" || fail "the second program ended with $?"
echo "ok     they run, and the installed cohort command looks at them"

mkdir -p "$scratch/parent/subprojects"
ln -s "$root" "$scratch/parent/subprojects/cohort"
cp "$scratch/first.cpp" "$scratch/parent"
cat >"$scratch/parent/meson.build" <<'TEXT'
project('parent', 'cpp', default_options: ['cpp_std=c++20'])
executable('first', 'first.cpp', dependencies: dependency('cohort', allow_fallback: true))
TEXT
meson setup -Doptimization=0 -Ddebug=false --unity=on --unity-size=9 "$scratch/parent/build" "$scratch/parent" \
    >"$scratch/log" 2>&1 ||
    fail "as a subproject: $(tail -n 20 "$scratch/log")"
ninja -C "$scratch/parent/build" first >"$scratch/log" 2>&1 ||
    fail "as a subproject: $(tail -n 20 "$scratch/log")"
echo "ok     a project that has it as a subproject builds a program"
