#!/bin/sh
# `boot.sh ROOT CGROUP` starts the Debian below ROOT by its systemd, with the network of this machine and everything else
# of its own. CGROUP is the name of its control groups.
set -eu
root=$1
if [ "${3-}" != inside ]; then
    for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        mkdir -p "$hierarchy/$2"
        echo $$ > "$hierarchy/$2/cgroup.procs"
    done
    # A machine does not outlive its test, however that ends.
    exec setpriv --pdeathsig KILL unshare --cgroup --mount --pid --uts --ipc --fork --kill-child "$0" "$1" "$2" inside
fi
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/systemd sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
hostname machine
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /sbin/init
