#!/usr/bin/env bash
# Runs every lint rule and the self-test of each. Prints one PASS, FAIL or SKIP a test (a failing
# rule may print several findings) and last `N passed, N failed, N skipped`. An argument runs only
# the tests whose name contains it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export PYTHONDONTWRITEBYTECODE=1

rules=(layers headers_alone file_length format words listed mutations_fit house)
only=${1:-}
passed=0 failed=0 skipped=0

run_one() { # name command...
    local name=$1 status=0
    shift
    [[ $name == *"$only"* ]] || return 0
    "$@" || status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    77) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
    esac
}

for rule in "${rules[@]}"; do
    run_one "$rule" python3 "$rule.py"
    run_one "self_test of $rule" python3 self_test.py "$rule"
done

echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
