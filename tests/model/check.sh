#!/usr/bin/env bash
# Explores every state of ring.pml. Usage: check.sh --parts | check.sh PART
# The part "sound" must hold. Each other part breaks one rule, and the model must find that out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

parts=(sound LATE_CUSTODY NO_REPAIR NO_RECHECK BLIND_REAPER COMMITTED_ONLY)
[[ ${1:-} != --parts ]] || { printf '%s\n' "${parts[@]}" && exit 0; }
[[ $# -eq 1 && " ${parts[*]} " == *" $1 "* ]] || { echo "usage: $0 --parts | PART" >&2 && exit 2; }
for tool in spin cc; do
    command -v "$tool" >/dev/null || { echo "needs $tool" && exit 77; }
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
model=$PWD/ring.pml
cd "$folder"
rounds=1
[[ ${COHORT_TEST_SCALE:-} != full ]] || rounds=2
spin -a "-D$1" "-DROUNDS=$rounds" "$model"
cc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=4000 -o pan pan.c
./pan -m100000 >found 2>&1
cat found

if [[ $1 == sound ]]; then
    grep -q 'errors: 0$' found && ! grep -q 'Search not completed' found
else
    grep -q 'assertion violated' found
fi
