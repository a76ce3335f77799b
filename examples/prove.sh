# Sourced by the proofs (run.sh) of the small examples: what they need, and what their programs must refuse.
# `run.sh --parts` lists the parts; there is one.
[[ ${1:-} != --parts ]] || { echo all && exit 0; }

# Ends with 77, and a line that says what is missing.
need() { # root, a path that can be written, or a tool...
    local missing=() each
    for each in "$@"; do
        case $each in
        root) [[ $(id -u) -eq 0 ]] || missing+=("$each") ;;
        /*) [[ -w $each ]] || missing+=("$each") ;;
        *) command -v "$each" >/dev/null || missing+=("$each") ;;
        esac
    done
    [[ ${#missing[@]} -eq 0 ]] || { echo "needs ${missing[*]}" && exit 77; }
}

fail() { # what is wrong
    echo "FAILED $1"
    exit 1
}

refused() { # exit code, part of the sentence, program, arguments...
    local status=0 said
    said=$("${@:3}" 2>&1) || status=$?
    [[ $status -eq $1 && $said == *"$2"* ]] || fail "${*:3}: $status, $said"
    echo "ok     refused: $(basename "$3") ${*:4}"
}
