#!/usr/bin/env bash
# Build a Vagrant box for libvirt where no box catalogue can be reached: Debian 12 with the packages
# that set-up wants, a kernel and its headers, and Vagrant's user. Needs root, loop devices and:
#   mmdebstrap fdisk e2fsprogs qemu-utils
# usage: build-box.sh BOX-FILE      MIRROR=http://deb.debian.org names another mirror
set -euo pipefail

[ $# = 1 ] || { echo "usage: build-box.sh BOX-FILE" >&2; exit 2; }
box=$(realpath -m "$1")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mirror=${MIRROR:-http://deb.debian.org}
base=linux-image-cloud-amd64,linux-headers-cloud-amd64,grub-pc,systemd-sysv,dbus,udev,openssh-server,sudo,rsync,make,nftables,ifupdown,isc-dhcp-client
[ "$(id -u)" = 0 ] || { echo "build-box: needs root (loop devices)" >&2; exit 3; }

# Some 3 GB for a while: not in a /tmp that is memory.
export TMPDIR=${TMPDIR:-/var/tmp}
work=$(mktemp -d)
loop='' node=''
cleanup() {
    if mountpoint -q "$work/mnt"; then umount -R "$work/mnt"; fi
    [ -z "$loop" ] || losetup -d "$loop"
    [ -z "$node" ] || rm -f "$node"
    rm -rf "$work"
}
trap cleanup EXIT
say() { printf 'build-box: %s\n' "$*" >&2; }

# The one list of what meshnet needs; the headers package above stands for the running kernel's.
packages=$(sed -e '/^#/d' -e '/^$/d' "$here/../netns_lab/apt-packages.txt" | paste -sd,)

say "packages"
mmdebstrap --quiet --mode=root --variant=minbase --include="$base,$packages" bookworm "$work/root.tar" \
    "deb $mirror/debian bookworm main" "deb $mirror/debian bookworm-updates main" \
    "deb $mirror/debian-security bookworm-security main"

say "disk"
truncate -s 10G "$work/disk.raw"
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk -q "$work/disk.raw"
loop=$(losetup -f --show "$work/disk.raw")
# Not every kernel reads partition tables of itself, and not everywhere does something make nodes.
partx -u "$loop"
if [ ! -b "${loop}p1" ]; then
    IFS=: read -r major minor <"/sys/block/${loop#/dev/}/${loop#/dev/}p1/dev"
    mknod "${loop}p1" b "$major" "$minor"
    node=${loop}p1
fi
mkfs.ext4 -q -L root "${loop}p1"
mkdir "$work/mnt"
mount "${loop}p1" "$work/mnt"
tar -C "$work/mnt" --numeric-owner -xpf "$work/root.tar"
rm "$work/root.tar"
uuid=$(blkid -s UUID -o value "${loop}p1")

say "system"
cd "$work/mnt"
echo "UUID=$uuid / ext4 errors=remount-ro 0 1" >etc/fstab
echo meshnet >etc/hostname
printf '127.0.0.1 localhost meshnet\n' >etc/hosts
: >etc/machine-id
printf 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n' >etc/network/interfaces
chroot . useradd -m -s /bin/bash vagrant
install -d -m 0700 -o 1000 -g 1000 home/vagrant/.ssh
# Vagrant's public, insecure key; `vagrant up` replaces it by one of its own.
vagrant_key=${VAGRANT_KEY:-$(find /usr/share -path '*vagrant*/keys/vagrant.pub' -print -quit 2>/dev/null)}
[ -n "$vagrant_key" ] || { say "no vagrant.pub: install vagrant, or set VAGRANT_KEY"; exit 3; }
install -m 0600 -o 1000 -g 1000 "$vagrant_key" home/vagrant/.ssh/authorized_keys
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/vagrant
chmod 0440 etc/sudoers.d/vagrant
# Host keys are each machine's own; one kind, for the others take long under emulation.
rm -f etc/ssh/ssh_host_*
cat >etc/systemd/system/ssh-keys.service <<'UNIT'
[Unit]
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
UNIT
ln -s /etc/systemd/system/ssh-keys.service etc/systemd/system/multi-user.target.wants/
ln -sf /dev/null etc/systemd/system/e2scrub_reap.service
echo 'GRUB_CMDLINE_LINUX="net.ifnames=0 console=ttyS0"' >>etc/default/grub
sed -i 's/^GRUB_TIMEOUT=.*/GRUB_TIMEOUT=0/' etc/default/grub

say "boot loader"
for directory in dev proc sys; do
    mount --rbind "/$directory" "$directory"
    mount --make-rslave "$directory"
done
chroot . grub-install --target=i386-pc --modules="part_msdos ext2 biosdisk" "$loop" >/dev/null 2>&1
chroot . update-grub >/dev/null 2>&1
sed -i "s#root=${loop}p1#root=UUID=$uuid#g" boot/grub/grub.cfg
cd /
umount -R "$work/mnt"
losetup -d "$loop"
loop=''

say "box"
cd "$work"
qemu-img convert -O qcow2 -c disk.raw box.img
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": 10}\n' >metadata.json
printf 'Vagrant.configure("2") { |config| }\n' >Vagrantfile
mkdir -p "$(dirname "$box")"
tar czf "$box.$$" metadata.json Vagrantfile box.img
mv "$box.$$" "$box"
say "$box ($(du -h "$box" | cut -f1))"
