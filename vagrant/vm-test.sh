#!/usr/bin/env bash
# Boot the built box through `vagrant up` under emulation, with a lab of one cell in it, and ask its
# ingress from here through the forwarded port. Needs root; touches nothing outside namespaces of its
# own but /var/cache/meshnet/box and the packages it installs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
cache=/var/cache/meshnet/box
export DEBIAN_FRONTEND=noninteractive
say() { printf 'vm-test: %s (%d s)\n' "$*" "$SECONDS" >&2; }
[ "$(id -u)" = 0 ] || { echo "vm-test: needs root" >&2; exit 3; }

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
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made_policy=1; }
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    [ -z "${made_policy:-}" ] || rm $policy
fi

hash=$(cat "$here/build-box.sh" "$root/netns_lab/apt-packages.txt" | sha256sum | cut -c1-16)
box=$cache/$hash.box
if [ ! -e "$box" ]; then
    say "building the box"
    "$here/build-box.sh" "$box"
fi
wheels=$cache/wheels-$(sha256sum "$root/requirements.lock" | cut -c1-16)
if [ ! -e "$wheels" ]; then
    say "fetching the Python packages: the guest may not reach an index"
    rm -rf "$wheels.new"
    "$root/.venv/bin/pip" download -q --require-hashes -r "$root/requirements.lock" -d "$wheels.new"
    "$root/.venv/bin/pip" download -q setuptools wheel -d "$wheels.new"
    mv "$wheels.new" "$wheels"
fi

work=$(mktemp -d /tmp/meshnet-vm.XXXXXX)
holder='' slirp='' namespace=''
inside() { nsenter -t "$holder" -n -m -- env -C "$work/tree/vagrant" "$@"; }
cleanup() {
    set +e
    if [ -n "$holder" ]; then
        inside vagrant destroy -f >"$work/destroy.log" 2>&1
        for file in libvirtd virtlogd; do
            [ ! -e "$work/run/$file.pid" ] || kill "$(cat "$work/run/$file.pid")"
        done
        [ -z "$slirp" ] || kill "$slirp"
        # Whatever is left in the namespace is ours.
        for process in /proc/[0-9]*; do
            [ -n "$namespace" ] && [ "$(readlink "$process/ns/net")" = "$namespace" ] && kill "${process#/proc/}"
        done
        wait "$holder" 2>/dev/null
    fi
    rm -rf "$work"
}
trap cleanup EXIT

say "namespaces for libvirt"
mkdir -p "$work"/{run,lib,etc,log,cache,home,tree}
rsync -a --exclude .git --exclude .venv --exclude '.*_cache' "$root/" "$work/tree/"
cp -r "$wheels" "$work/tree/vagrant/wheels"
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
printf 'auth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_group = "root"\n' >"$work/etc/libvirtd.conf"
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
    exec sleep infinity" &
holder=$!
until [ -e "$work/ready" ]; do kill -0 "$holder"; read -rt 0.1 <> <(:) || true; done
namespace=$(readlink "/proc/$holder/ns/net")
slirp4netns --configure --mtu=1500 --disable-host-loopback "$holder" tap0 >"$work/slirp.log" 2>&1 &
slirp=$!
inside virtlogd -d -p "$work/run/virtlogd.pid"
inside libvirtd -d -p "$work/run/libvirtd.pid"
until inside virsh -c qemu:///system list >/dev/null 2>&1; do kill -0 "$holder"; read -rt 0.2 <> <(:) || true; done

export VAGRANT_HOME=$work/home VAGRANT_DEFAULT_PROVIDER=libvirt VAGRANT_CHECKPOINT_DISABLE=1
export LAB_BOX=meshnet/bookworm64 LAB_VIRT=qemu LAB_TIMEOUT=600 LAB_FILE=netns_lab/labs/one-cell.yml
export LAB_ONLY="1 2" LAB_PORT=8080 MESHNET_SLOW=${MESHNET_SLOW:-20}
export PIP_NO_INDEX=1 PIP_FIND_LINKS=/meshnet/vagrant/wheels
# `vagrant` wants a path for a gem home of its own before it changes its own.
inside vagrant box add --name "$LAB_BOX" "$box" >/dev/null
say "vagrant up (emulated: this takes long)"
inside vagrant up --provider=libvirt
say "asking the lab's ingress through the forwarded port"
inside curl -sS --max-time 60 -H 'Host: hello.istio.mesh.lab' "http://127.0.0.1:$LAB_PORT/" | tee "$work/answer"
grep -q '"greeting": "hello"' "$work/answer"
say "passed"
