#!/bin/sh
# tests/servers/boot.sh ROOT SOURCE BINARY RESOLVER SHARED - boots systemd as the first process of the
# namespaces it is started in, with the units of SOURCE/deploy/systemd and nothing else of this
# machine's but /usr, which it cannot change. SHARED becomes its /run/bakrypt-login.
set -eu

root=$1 source=$2 binary=$3 resolver=$4 shared=$5

mount --make-rprivate /
mount -t tmpfs -o mode=755 root "$root"
cd "$root"
mkdir etc dev dev/pts dev/shm home old proc root run run/bakrypt-login sys tmp usr usr-upper \
	usr-work var var/log var/log/journal
for link in bin sbin lib lib32 lib64; do
	[ ! -L "/$link" ] || cp -a "/$link" .
done
mount -t overlay -o "lowerdir=/usr,upperdir=$root/usr-upper,workdir=$root/usr-work" usr usr

# The kernel is this machine's: it is only looked at.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
if [ "$(wc -l </proc/self/cgroup)" -eq 1 ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
else
	mount -t tmpfs cgroup sys/fs/cgroup
	mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
	mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
	mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
for device in null zero full random urandom tty; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mkdir run/bakrypt-login
mount --bind "$shared" run/bakrypt-login

# What the Debian package installs, and does.
for file in passwd group nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d ssl; do
	[ ! -e "/etc/$file" ] || cp -a "/etc/$file" etc/
done
printf '127.0.0.1 localhost\n' >etc/hosts
printf 'nameserver %s\n' "$resolver" >etc/resolv.conf
printf '%032d\n' 1 >etc/machine-id
install "$binary" usr/bin/bakrypt-login
install -D -m 0644 -t etc/systemd/system "$source/deploy/systemd/bakrypt-login.socket" \
	"$source/deploy/systemd/bakrypt-login.service"
install -m 0644 "$source/deploy/systemd/bakrypt-login.sysusers" usr/lib/sysusers.d/bakrypt-login.conf
systemd-sysusers --root="$root" bakrypt-login.conf
install -d etc/bakrypt-login
systemctl --quiet --root="$root" enable bakrypt-login.socket

# No unit of the system's but the journal: nothing here may touch devices, clocks or users.
for unit in usr/lib/systemd/system/local-fs.target.wants/* \
	usr/lib/systemd/system/sysinit.target.wants/* \
	usr/lib/systemd/system/multi-user.target.wants/* \
	usr/lib/systemd/system/timers.target.wants/* usr/lib/systemd/system/sockets.target.wants/*; do
	case ${unit##*/} in
	systemd-journald*) ;;
	*) ln -sf /dev/null "etc/systemd/system/${unit##*/}" ;;
	esac
done

pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd --system \
	--unit=sockets.target --show-status=0
