#!/usr/bin/env bash
# Proves the pipeline and the quickstart, with the programs in $COHORT_BUILD_DIR: all of it, or the part that is
# named. `run.sh --parts` lists the parts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v python3 >/dev/null; then
    [[ ${1:-} != --parts ]] || { echo all && exit 0; }
    echo "needs python3, which compares what went in with what came out"
    exit 77
fi
exec env PYTHONDONTWRITEBYTECODE=1 python3 "$here/test_pipeline.py" "$@"
