#!/usr/bin/env python3
"""The folder of one run of the tests. What tests write is in it, and each process that they start has its name in the environment.

    scratch.py make            makes a folder, and prints it
    scratch.py remove FOLDER   ends the processes that belong to it, and removes it
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

#: How many seconds a test waits for what it expects. A busy machine takes its time, and a wait that succeeds costs nothing.
PATIENCE = 300
VARIABLE = "FIELDSEAL_TEST_FOLDER"
PREFIX = "fieldseal-test."
#: Says where to make the folder, for a run that a test starts.
PARENT = "FIELDSEAL_TEST_PARENT"
#: Where a run's folder may be. A file system in memory spares the tests PostgreSQL's waiting for the disk.
MEMORY, DISK = pathlib.Path("/dev/shm"), pathlib.Path("/tmp")
#: What a run may need at most, in bytes.
NEEDED = 4 << 30
#: prctl(2)
PR_SET_CHILD_SUBREAPER = 36


def make():
    """Makes the folder of a run: in memory if there is enough of it, and programs may be started there."""
    parent = os.environ.get(PARENT, MEMORY if is_usable(MEMORY) else DISK)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # PostgreSQL's and the mail servers' users go through it.
    folder.chmod(0o755)
    return folder


def is_usable(memory):
    if not memory.is_dir() or not os.access(memory, os.W_OK | os.X_OK):
        return False
    state = os.statvfs(memory)
    return state.f_bavail * state.f_frsize >= NEEDED and not state.f_flag & os.ST_NOEXEC


def new_folder(prefix="fieldseal-"):
    """A new folder for one deployment, in the folder of the run. Without a run, as in benchmarks, it is in /tmp."""
    return pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get(VARIABLE, DISK)))


def elsewhere():
    """A new folder on another file system than the run's; it is removed with the run."""
    run = pathlib.Path(os.environ[VARIABLE])
    other = next(place for place in (MEMORY, DISK) if place.stat().st_dev != run.stat().st_dev)
    return pathlib.Path(tempfile.mkdtemp(prefix=f"{run.name}.", dir=other))


def processes(folder):
    """The processes that belong to a run: those that name it, and those below this process."""
    parents = living()
    ancestors = {os.getpid(), *above(os.getpid(), parents)}
    name = os.fsencode(pathlib.Path(folder).name)
    return [pid for pid in parents if pid not in ancestors and (os.getpid() in above(pid, parents) or names(pid, name))]


def living():
    """Each process with its parent."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
    return parents


def above(pid, parents):
    while pid := parents.get(pid):
        yield pid


def names(pid, name):
    """Whether the name is in what a process shows of itself, as far as this user may read it."""
    return any(name in trace for trace in traces(pid))


def traces(pid):
    for read in (lambda: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes(), lambda: os.fsencode(os.readlink(f"/proc/{pid}/cwd")),
                 lambda: pathlib.Path(f"/proc/{pid}/environ").read_bytes()):
        with contextlib.suppress(OSError):
            yield read()


def adopt():
    """Makes processes whose parent ends children of this one, so that `end` finds those too whose environment it may not read."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end(folder, seconds=20):
    """Ends the processes of a run. PostgreSQL is asked to: it removes its shared memory then."""
    deadline, asked = time.monotonic() + seconds, set()
    while found := processes(folder):
        for pid in found:
            with contextlib.suppress(OSError):
                is_postgres = os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "postgres"
                if not is_postgres or time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    os.kill(pid, signal.SIGQUIT)
                    asked.add(pid)
        time.sleep(0.05)


def remove(folder):
    """Ends what belongs to a run, and removes its files."""
    folder = pathlib.Path(folder)
    assert folder.name.startswith(PREFIX), folder
    end(folder)
    for place in (folder.parent, MEMORY, DISK):
        for path in place.glob(f"{folder.name}*"):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        print(make())
    elif len(sys.argv) == 3 and sys.argv[1] == "remove":
        remove(sys.argv[2])
    else:
        sys.exit(__doc__)
