#!/usr/bin/env bash
# systemd as process 1 of namespaces of its own, with the unit of cohortd and no other. What comes
# on standard input is done there, line by line; after each it says "ended" and the exit code. It
# ends with its input or its caller; killed, it leaves an empty control group to the next.
# Usage: under_systemd.sh DIRECTORY_OF_COHORTD_AND_ITS_UNIT
set -uo pipefail

groups=/sys/fs/cgroup
hierarchy=(-t cgroup2 cgroup2 "$groups")
if [[ -d $groups/systemd ]]; then # a hierarchy of version 1, for systemd alone
    groups=$groups/systemd
    hierarchy=(-t cgroup -o "none,name=systemd" cgroup "$groups")
fi
own=$groups/cohort-test-$$
separate=(unshare --fork --kill-child=KILL --pid --mount --uts --ipc --net --cgroup --mount-proc)

# Those of callers that were killed, too: a group with processes stays.
remove_groups() {
    find "$groups"/cohort-test-* -depth -type d -exec rmdir {} + 2>/dev/null
}

# systemd makes its groups inside the own one. Exit code 77: the rights are missing.
outside() {
    local status
    remove_groups
    "${separate[@]}" true && mkdir "$own" && echo $$ >"$own/cgroup.procs" || exit 77
    setpriv --pdeathsig KILL "${separate[@]}" "$0" --inside "$1"
    status=$?
    echo $$ >"$groups/cgroup.procs"
    remove_groups
    exit $status
}

commands() {
    while ! systemctl is-system-running >/dev/null 2>&1; do
        sleep 0.1
    done
    echo "ready"
    while read -r line; do
        eval "$line" </dev/null
        echo "ended $?"
    done
    systemctl --force exit
}

inside() {
    local unit=$1/cohortd@.service name
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=755 tmpfs /etc/default
    mount --bind "$1" "$(sed -n 's,^ExecStart=\(.*\)/cohortd .*,\1,p' "$unit")"
    umount -l /sys/fs/cgroup
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mkdir -p "$groups"
    mount "${hierarchy[@]}"

    mkdir -p /run/units
    cp "$unit" /run/units
    for name in default sysinit basic shutdown; do
        printf '[Unit]\nDefaultDependencies=no\n' >"/run/units/$name.target"
    done
    exec 3<&0
    commands <&3 &
    exec 3<&-
    exec env -i PATH="$PATH" container=test SYSTEMD_UNIT_PATH=/run/units \
        /lib/systemd/systemd --system --unit=default.target --log-target=null >/dev/null 2>&1 </dev/null
}

if [[ $1 == --inside ]]; then
    inside "$2"
else
    outside "$1"
fi
