"""Runs in the sandbox of a unit, with the root's own Python. Tries what the sandbox forbids, and prints as JSON what succeeded."""

import contextlib
import ctypes
import json
import mmap
import os
import resource
import socket

LIBRARY = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, PTRACE_TRACEME, ADDR_NO_RANDOMIZE = 0x10000000, 0, 0x0040000


def write(path):
    with open(path, "w") as file:
        file.write("x")
    os.unlink(path)


def apart(call):
    """Whether the system call succeeds. Runs it in a child process, because the call may change the process."""
    child = os.fork()
    if child == 0:
        os._exit(0 if call() == 0 else 1)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise PermissionError


def set_user_bit():
    path = "/run/fieldseal/probe"
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.chmod(path, 0o4700)
    finally:
        os.unlink(path)


def has_all_users():
    with open("/proc/self/uid_map") as file:
        assert file.read().split() == ["0", "0", str(2**32 - 1)]


def may_dump():
    assert resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


TRIALS = {
    "write /var/lib": lambda: write("/var/lib/fieldseal/probe"),
    "list /home": lambda: os.listdir("/home"),
    "see the others' processes": lambda: os.stat("/proc/1"),
    "see the machine in /proc": lambda: os.stat("/proc/cpuinfo"),
    "see devices": lambda: os.stat("/dev/of-this-machine"),
    "see the others' /tmp": lambda: os.stat("/tmp/of-this-machine"),
    "see all users": has_all_users,
    "memory to write and execute": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "a namespace": lambda: apart(lambda: LIBRARY.unshare(CLONE_NEWUSER)),
    "a system call of debuggers": lambda: apart(lambda: LIBRARY.ptrace(PTRACE_TRACEME, 0, 0, 0)),
    "another personality": lambda: apart(lambda: 0 if LIBRARY.personality(ADDR_NO_RANDOMIZE) != -1 else 1),
    "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "the set-user-ID bit": set_user_bit,
    "a dump of its memory": may_dump,
}
# The sandbox allows these to every program of the unit.
TRIALS |= {"write its folder": lambda: write("/run/fieldseal/allowed"), "a TCP socket": lambda: socket.socket().close()}

done = []
for name, trial in TRIALS.items():
    with contextlib.suppress(OSError, AssertionError):
        trial()
        done.append(name)
print(json.dumps({"done": done, "not done": sorted(set(TRIALS) - set(done))}))
