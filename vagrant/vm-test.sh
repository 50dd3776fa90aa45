#!/usr/bin/env bash
# Boot the built box through `vagrant up` under emulation, with a lab of one cell in it, and ask its
# ingress and its API from here through the forwarded ports. Needs root; touches nothing outside
# namespaces of its own but /var/cache/meshnet/box and the packages it installs.
# usage: vm-test.sh      MESHNET_SLOW=N stretches the lab's deadlines (20)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
cache=/var/cache/meshnet/box
export DEBIAN_FRONTEND=noninteractive
say() { printf 'vm-test: %s (%d s)\n' "$*" "$SECONDS" >&2; }
die() { say "$*"; exit 1; }
[ "$(id -u)" = 0 ] || { echo "vm-test: needs root: run it through sudo" >&2; exit 3; }

work='' holder='' slirp='' namespace='' policy=''
inside() { nsenter -t "$holder" -n -m -- env -C "$work/tree/vagrant" "$@"; }
# Until the command holds; a process that ended or a minute without is the end.
await() {
    local process=$1 what=$2 deadline=$((SECONDS + 60))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$process" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            die "$what did not come up: $(tail -n 3 "$work"/*.log 2>/dev/null)"
        fi
        read -rt 0.2 <> <(:) || true
    done
}
ours() {
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/net")" != "$namespace" ] || echo "${process#/proc/}"
    done 2>/dev/null
}
cleanup() {
    local status=$? process
    trap - EXIT
    set +e
    [ -z "$policy" ] || rm -f "$policy"
    if [ -n "$namespace" ]; then
        timeout 120 nsenter -t "$holder" -n -m -- env -C "$work/tree/vagrant" \
            vagrant destroy -f >"$work/destroy.log" 2>&1
        # Whatever is left in the namespace is ours.
        for process in $(ours); do kill "$process"; done
        for _ in {1..50}; do [ -n "$(ours)" ] || break; read -rt 0.1 <> <(:); done
        for process in $(ours); do kill -KILL "$process"; done
    fi
    [ -z "$holder" ] || kill "$holder" 2>/dev/null
    [ -z "$slirp" ] || kill "$slirp" 2>/dev/null
    wait 2>/dev/null
    [ -z "$work" ] || rm -rf "$work"
    [ "$status" = 0 ] || say "failed"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

packages=(vagrant vagrant-libvirt qemu-system-x86 qemu-utils seabios ipxe-qemu libvirt-daemon
    libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients dnsmasq-base slirp4netns
    mmdebstrap fdisk e2fsprogs rsync openssh-client)
missing=()
for name in "${packages[@]}"; do
    dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    apt-get update -qq
    # Nothing is to start here: what runs, runs in the namespaces below.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
    fi
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    [ -z "$policy" ] || rm -f "$policy"
    policy=''
fi

mkdir -p "$cache"
hash=$(cat "$here/build-box.sh" "$root/netns_lab/apt-packages.txt" | sha256sum | cut -c1-16)
box=$cache/$hash.box
if [ ! -e "$box" ]; then
    say "building the box"
    "$here/build-box.sh" "$box"
    find "$cache" -maxdepth 1 -name '*.box' ! -path "$box" -delete
fi
# The guest is Debian 12: only a Python of its version fetches packages that fit it.
wheels=''
if "$root/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    wheels=$cache/wheels-$(sha256sum "$root/requirements.lock" | cut -c1-16)
    if [ ! -e "$wheels" ]; then
        say "fetching the Python packages: the guest may not reach an index"
        rm -rf "$cache"/wheels-*
        "$root/.venv/bin/pip" download -qq --require-hashes -r "$root/requirements.lock" -d "$wheels.new"
        "$root/.venv/bin/pip" download -qq setuptools wheel -d "$wheels.new"
        mv "$wheels.new" "$wheels"
    fi
    export PIP_NO_INDEX=1 PIP_FIND_LINKS=/meshnet/vagrant/wheels
fi

say "namespaces for libvirt"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/meshnet-vm.XXXXXX")
mkdir -p "$work"/{run,lib,etc,log,cache,home,tree}
rsync -a --exclude .git --exclude .venv --exclude '.*_cache' --exclude .hypothesis --exclude .vagrant \
    --exclude vagrant/wheels "$root/" "$work/tree/"
[ -z "$wheels" ] || cp -r "$wheels" "$work/tree/vagrant/wheels"
cp -a /etc/libvirt/. "$work/etc/"
cat >"$work/etc/qemu.conf" <<'CONF'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
CONF
cat >"$work/etc/libvirtd.conf" <<CONF
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
log_outputs = "3:file:$work/libvirtd.log"
CONF
printf 'nameserver 10.0.2.3\n' >"$work/resolv.conf"
mkdir -p /run/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
unshare -n -m bash -c "
    mount --make-rprivate /
    mount --bind '$work/run' /run/libvirt
    mount --bind '$work/lib' /var/lib/libvirt
    mount --bind '$work/etc' /etc/libvirt
    mount --bind '$work/log' /var/log/libvirt
    mount --bind '$work/cache' /var/cache/libvirt
    mount -t sysfs sysfs /sys
    mount --bind '$work/resolv.conf' /etc/resolv.conf
    ip link set lo up
    touch '$work/ready'
    exec sleep infinity" 2>"$work/namespaces.log" &
holder=$!
await "$holder" "namespaces" test -e "$work/ready"
namespace=$(readlink "/proc/$holder/ns/net")
# What ends in `cleanup` is what is in there: never this one.
[ "$namespace" != "$(readlink /proc/self/ns/net)" ] || { namespace=''; die "no network namespace of its own"; }
slirp4netns --configure --mtu=1500 --disable-host-loopback "$holder" tap0 >"$work/slirp.log" 2>&1 &
slirp=$!
await "$slirp" "the namespace's way out" inside ip route get 1.1.1.1
inside virtlogd -d -p "$work/run/virtlogd.pid"
inside libvirtd -d -p "$work/run/libvirtd.pid"
await "$holder" "libvirtd" inside virsh -c qemu:///system list

export VAGRANT_HOME=$work/home VAGRANT_DEFAULT_PROVIDER=libvirt VAGRANT_CHECKPOINT_DISABLE=1
export LAB_BOX=meshnet/bookworm64 LAB_VIRT=qemu LAB_TIMEOUT=600 LAB_FILE=netns_lab/labs/one-cell.yml
export LAB_ONLY="1 2" LAB_PORT=8080 MESHNET_SLOW=${MESHNET_SLOW:-20}
# What pip compiles in advance is mostly what the lab never imports.
export PIP_NO_COMPILE=1
inside vagrant box add --no-tty --name "$LAB_BOX" "$box" >"$work/add.log" 2>&1 || die "$(cat "$work/add.log")"
say "vagrant up (emulated: this takes long)"
inside vagrant up --no-tty --provider=libvirt

ask() {
    local answer
    say "asking ${*: -1}"
    answer=$(inside curl -sS --retry 3 --max-time 60 "${@:2}") || die "no answer"
    printf '%s\n' "$answer"
    grep -q "$1" <<<"$answer" || die "that is no answer of the lab's: $1 is not in it"
}
ask '"greeting": *"hello"' -H 'Host: hello.istio.mesh.lab' "http://127.0.0.1:$LAB_PORT/"
ask '"cloud_controller_v3"' "http://127.0.0.1:$((LAB_PORT + 1))/"
say "passed"
