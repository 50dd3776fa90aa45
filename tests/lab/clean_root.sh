#!/usr/bin/env bash
# Set a checkout up in a root file system that has nothing but Debian's minimal packages, in mount
# and process namespaces of its own.
# usage: unshare -m -p -f clean_root.sh DIRECTORY CHECKOUT
set -euo pipefail

root=$1 checkout=$2
suite=bookworm
mount --make-rprivate /
# apt's own settings here: mirrors, proxies and their certificates.
mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" {print $2; exit}' /etc/apt/sources.list)
# shellcheck disable=SC1091
[ "$(. /etc/os-release && echo "$ID")" != debian ] || suite=$(. /etc/os-release && echo "$VERSION_CODENAME")

debootstrap --variant=minbase "$suite" "$root" "$mirror" >/dev/null
for directory in /etc/apt /etc/ssl /etc/pip.conf /etc/resolv.conf /usr/share/keyrings /usr/local/share/ca-certificates /opt; do
    [ -e "$directory" ] || continue
    if [ -d "$directory" ]; then mkdir -p "$root$directory"; else touch "$root$directory"; fi
    mount --bind -o ro "$directory" "$root$directory"
done
# Written to by what is installed.
umount "$root/etc/ssl" "$root/usr/share/keyrings" 2>/dev/null || true
cp -a /etc/ssl/. "$root/etc/ssl/"
cp -a /usr/share/keyrings/. "$root/usr/share/keyrings/"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mkdir "$root/meshnet"
tar -C "$checkout" --exclude .git --exclude .venv --exclude '.*_cache' --exclude wheels -cf - . | tar -C "$root/meshnet" -xf -

chroot "$root" /meshnet/netns_lab/setup.sh
echo "again"
chroot "$root" /meshnet/netns_lab/setup.sh
chroot "$root" meshnet doctor --json
