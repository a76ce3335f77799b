# bash completion of cohort and cohortd: commands and options as the programs list them.

_cohort_domains() {
    local root
    for root in "$COHORT_RUNTIME_DIR" /run/cohort "${XDG_RUNTIME_DIR:-/nowhere}/cohort" \
        "/tmp/cohort-$(id -u)"; do
        [[ -n $root && -d $root ]] && command ls "$root" 2>/dev/null
    done
}

_cohort_options() { # command line
    "$@" --help 2>/dev/null | command grep -oE -- '(^|[ ,])--?[a-z][a-z-]*' | command tr -d ' ,'
}

_cohort_commands() { # program
    "$1" --help 2>/dev/null | command awk '/^Subcommands:/ {on = 1; next} on && /^  [a-z]/ {print $1}'
}

_cohort() {
    local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} command='' domain=default
    local previous=${COMP_WORDS[COMP_CWORD - 1]} i choices
    for ((i = 1; i < COMP_CWORD; ++i)); do
        case ${COMP_WORDS[i]} in
        -d | --domain) domain=${COMP_WORDS[++i]} ;;
        -*) ;;
        *) command=${command:-${COMP_WORDS[i]}} ;;
        esac
    done
    if [[ $previous == -d || $previous == --domain ]]; then
        choices=$(_cohort_domains)
    elif [[ $current == -* || ${program##*/} == cohortd ]]; then
        choices=$(_cohort_options "$program" ${command:+"$command"})
    elif [[ -z $command ]]; then
        choices=$(_cohort_commands "$program")
    elif [[ $command == holders ]]; then
        choices=$("$program" -d "$domain" pools 2>/dev/null | command awk 'NR > 1 {print $1}')
    elif [[ $command == capture ]]; then
        choices=$("$program" -d "$domain" ports 2>/dev/null | command awk 'NR > 1 {print $1}')
    fi
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}

complete -F _cohort cohort cohortd
