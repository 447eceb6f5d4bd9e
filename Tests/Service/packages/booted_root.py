"""Makes roots in which systemd is the first process.

The root has separate namespaces of mounts, processes, the network, cgroups, IPC and the host's name. Programs that are started in it can't
see this machine's processes and ports, and end with the root. It differs from a real machine:

- No cgroup controllers are available, only the cgroup tree of version 2. So the units' MemoryMax= and TasksMax= are read but have no effect.
- /sys and /proc/sys are read-only, and the capabilities to load modules and to set the clock are missing, which protects this machine. So
  ProtectKernelModules=, ProtectKernelTunables= and ProtectClock= have nothing to remove, and the tests check only that they are set.
- /dev has only the devices that programs need, and a file that is not a device, which PrivateDevices= must hide.
"""

import errno
import itertools
import os
import pathlib
import shutil
import subprocess
import time

import scratch
from package_root import WITHOUT_SWIFT, Root
from service import PATIENCE

#: Starts systemd in the root, while the shell that prepared the root waits. Arguments: the folder, a command that hides Swift, and pairs of a
#: folder and its place in the root.
BOOT = """
set -e
home=$1 without_swift=$2; shift 2
cd "$home"; mount -t tmpfs -o mode=755 none .; cd "$home"; mkdir upper work root
mount -t overlay overlay -o "lowerdir=/,upperdir=$home/upper,workdir=$home/work" root
eval "$without_swift"
mount -t tmpfs -o mode=755,nosuid none root/dev; touch root/dev/of-this-machine
for device in null zero full random urandom tty; do touch root/dev/$device; mount --bind /dev/$device root/dev/$device; done
mkdir root/dev/pts root/dev/shm; ln -s pts/ptmx root/dev/ptmx; ln -s /proc/self/fd root/dev/fd
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 none root/dev/pts; mount -t tmpfs -o mode=1777 none root/dev/shm
mount -t proc none root/proc; mount --bind root/proc/sys root/proc/sys; mount -o remount,bind,ro root/proc/sys
mount -t sysfs -o ro none root/sys
mountpoint -q root/sys/fs/cgroup || mount -t tmpfs -o mode=755 none root/sys/fs/cgroup
mount -t cgroup2 none root/sys/fs/cgroup
mount -t tmpfs -o mode=755 none root/run; mount -t tmpfs -o mode=1777 none root/tmp
while [ $# -gt 0 ]; do mkdir -p "root$2"; mount --bind "$1" "root$2"; shift 2; done
# Nothing that this machine starts is started here, and the scripts of packages may start units.
rm -rf root/etc/systemd/system/*.wants root/usr/sbin/policy-rc.d root/etc/machine-id; : > root/etc/machine-id
cd root; mkdir run/former; pivot_root . run/former; umount -l /run/former; rmdir /run/former
# Outside of a container systemd does this itself: what it mounts for a unit, such as credentials, is seen in the unit's namespace.
mount --make-rshared /
exec env -i container=fieldseal-test PATH="$PATH" setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio --inh-caps=-sys_module,-sys_time,-sys_rawio \\
    /lib/systemd/systemd --log-target=journal --show-status=0 --unit=basic.target
"""
NAMESPACES = ["--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup"]
NUMBERS = itertools.count()


def cgroups():
    """The folder at which the cgroup tree of version 2 is mounted."""
    mounts = (line.split() for line in pathlib.Path("/proc/self/mounts").read_text().splitlines())
    return pathlib.Path(next(place for _, place, kind, *_ in mounts if kind == "cgroup2"))


class BootedRoot(Root):
    """A root with systemd. `binds` gives each place in the root the folder of this machine that is mounted there."""

    def __init__(self, binds):
        self.home = scratch.new_folder()
        self.home.chmod(0o755)
        self.cgroup = cgroups() / f"fieldseal-test-{os.getpid()}-{next(NUMBERS)}"
        self.cgroup.mkdir()
        self.log = open(self.home.with_name(f"{self.home.name}.boot"), "w+b")
        places = [str(part) for place, folder in binds.items() for part in (folder, place)]
        self.keeper = subprocess.Popen(
            ["bash", "-c", 'echo $$ > "$0/cgroup.procs"; exec "$@"', self.cgroup,
             "unshare", "--fork", "--kill-child", "--propagation", "private", *NAMESPACES, "bash", "-c", BOOT, "boot", self.home, WITHOUT_SWIFT, *places],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.first = None
        try:
            self.first = self.wait(self.first_process)
            # Waits until systemd has started everything.
            self.wait(lambda: self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip() in ("running", "degraded"))
        except BaseException:
            self.remove()
            raise

    def first_process(self):
        """The process that is number 1 in the root, or None until it is systemd."""
        for pid in pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text().split():
            if os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "systemd":
                return int(pid)
        return None

    def wait(self, condition):
        """Waits until the function returns a value that is not empty. Returns that value."""
        deadline = time.monotonic() + PATIENCE
        while not (answer := condition()):
            assert self.keeper.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.05)
        return answer

    def said(self):
        """What was printed before systemd's journal ran."""
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def command(self, *command):
        return ["nsenter", f"--target={self.first}", *NAMESPACES, "--root", "--wd", *command]

    def path(self, path):
        return pathlib.Path(f"/proc/{self.first}/root{path}")

    def show(self, unit, *properties):
        """Properties of a unit, by name. For a single property, only its value."""
        lines = self.run("systemctl", "show", unit, *(f"--property={name}" for name in properties)).stdout.splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return values[properties[0]] if len(properties) == 1 else values

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", f"--unit={unit}").stdout

    def edit(self, unit, *lines):
        """Writes a drop-in of a unit, as `systemctl edit` does. Without lines, removes it."""
        folder = self.path(f"/etc/systemd/system/{unit}.d")
        shutil.rmtree(folder, ignore_errors=True)
        if lines:
            folder.mkdir(parents=True)
            (folder / "override.conf").write_text("\n".join(["[Service]", *lines]) + "\n")
        self.run("systemctl", "daemon-reload")

    def remove(self):
        # systemd ends together with unshare, and every process in its namespaces ends with systemd.
        self.keeper.kill()
        self.keeper.wait()
        deadline = time.monotonic() + PATIENCE
        while not self.is_ended():
            assert time.monotonic() < deadline, self.processes()
            time.sleep(0.02)
        self.log.close()
        os.unlink(self.log.name)
        shutil.rmtree(self.home, ignore_errors=True)

    def is_ended(self):
        """Removes the root's cgroup. Returns False while it has a process, even one that is ending and not listed any more."""
        if self.processes():
            return False
        try:
            for folder, _, _ in os.walk(self.cgroup, topdown=False):
                os.rmdir(folder)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def processes(self):
        """The processes in the root's cgroup."""
        return [pid for folder, _, _ in os.walk(self.cgroup) for pid in (pathlib.Path(folder) / "cgroup.procs").read_text().split()]
