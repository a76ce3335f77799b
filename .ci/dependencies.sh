#!/usr/bin/env bash
# Installs the missing Debian or Ubuntu packages that the build needs.
# Usage: dependencies.sh [tests] [fuzz] [peers]. As root it calls apt-get; otherwise it prints the one line
# that root must run, and exits 3.
set -euo pipefail

packages=(g++ meson ninja-build pkg-config libboost-dev libnuma-dev libfmt-dev libpcap-dev libbpf-dev
    nlohmann-json3-dev libcli11-dev)
for purpose in "$@"; do
    case $purpose in
    tests)
        packages+=(catch2 python3 clang-format-14 iproute2 spin tmux prometheus-cpp-dev dpdk-dev
            ethtool tcpdump dnsmasq-base bind9-dnsutils curl iputils-ping procps)  # examples/captures
        ;;
    fuzz) packages+=(clang libclang-rt-14-dev) ;;
    peers) packages+=(libdpdk-dev libmimalloc2.0) ;;  # only what benchmarks compare with
    *) echo "Usage: $0 [tests] [fuzz] [peers]" >&2 && exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "$0: no dpkg here; these must be present under your system's names: ${packages[*]}" >&2
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    # Newer releases provide pkg-config by pkgconf.
    [[ $package != pkg-config ]] || ! command -v pkg-config >/dev/null || continue
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $status == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]]; then
    echo "Packages are missing. As root, run:" >&2
    echo "apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
    exit 3
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -qq -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists may be absent or old: only then fetch them.
if ! install && ! { apt-get update -qq >"$log" 2>&1 && install; }; then
    cat "$log" >&2
    echo "$0: could not install ${missing[*]}" >&2
    exit 1
fi
