"""Builds the Debian packages, and makes roots to install them into.

A root is an overlay over this machine's file system, in a mount namespace, so packages are installed only there. If the program contains
Swift's libraries, like the one of `make packages`, the root has no Swift. A program of a debug build loads the libraries from the root.
"""

import json
import pathlib
import re
import shlex
import shutil
import subprocess
import time

import scratch
from service import PATIENCE, PROGRAM

SOURCE = pathlib.Path(__file__).parents[3]
#: The folder of Swift's compiler and libraries.
SWIFT = pathlib.Path(shutil.which("swift")).resolve().parents[2]
NEEDED = subprocess.run(["readelf", "--dynamic", PROGRAM], check=True, capture_output=True, text=True).stdout
#: A shell command that hides Swift from the root.
WITHOUT_SWIFT = "true" if "libswiftCore" in NEEDED else f"mount -t tmpfs none root{SWIFT}"
NAMES = ["fieldseal", "fieldseal-dbgsym", "fieldseal-doc", "fieldseal-router"]


def build(output, *arguments):
    subprocess.run(
        [SOURCE / "scripts/packages", "--binary", PROGRAM, "--output", output, "--uncompressed", *arguments], check=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, timeout=PATIENCE)
    return {file.name.split("_")[0]: file for file in output.glob("*.deb")}


class Root:
    """A root that shares nothing with the other roots."""

    def __init__(self):
        self.home = scratch.new_folder()
        self.home.chmod(0o755)
        script = (
            f"set -e; cd {self.home}; mount -t tmpfs -o mode=755 none .; cd {self.home}; mkdir upper work root; "
            f"mount -t overlay overlay -o lowerdir=/,upperdir={self.home}/upper,workdir={self.home}/work root; "
            f"{WITHOUT_SWIFT}; mount --rbind /dev root/dev; mount -t proc none root/proc; echo ready; exec sleep infinity")
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.keeper.stdout.readline() == b"ready\n"

    def command(self, *command):
        return ["nsenter", f"--target={self.keeper.pid}", "--mount", "chroot", f"{self.home}/root", *command]

    def run(self, *command, check=True, **options):
        result = subprocess.run(self.command(*command), capture_output=True, text=True, timeout=PATIENCE, check=False, **options)
        assert not check or result.returncode == 0, (command, result.stdout, result.stderr)
        return result

    def path(self, path):
        """Where this process finds a file of the root."""
        return pathlib.Path(f"/proc/{self.keeper.pid}/root{self.home}/root{path}")

    def install(self, *files):
        for file in files:
            shutil.copyfile(file, self.path(f"/tmp/{file.name}"))
        return self.run("dpkg", "-i", *(f"/tmp/{file.name}" for file in files))

    def remove(self):
        self.keeper.kill()
        self.keeper.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def configure(root, cluster, port, place=None, **changes):
    """Writes the files that an operator would write into /etc/fieldseal, with their owners and modes. `place` is the path of the cluster's folder
    in the root."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "60", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", cluster.home / "package.key", "-out", cluster.home / "package.pem"], check=True, capture_output=True)
    folder = "/etc/fieldseal"
    for source, name in (("kek", "kek"), ("package.pem", "server.pem"), ("package.key", "server.key")):
        shutil.copyfile(cluster.home / source, root.path(f"{folder}/{name}"))
        root.run("chown", "fieldseal:fieldseal", f"{folder}/{name}")
        root.run("chmod", "0400", f"{folder}/{name}")
    write_settings(root, cluster, port, place, **changes)


def write_settings(root, cluster, port, place=None, **changes):
    """Writes /etc/fieldseal/fieldseal.yaml. The value None leaves a setting out."""
    folder, host = "/etc/fieldseal", place or cluster.home
    lines = {
        "database": f"host={host} user=fieldseal_service dbname=fieldseal", "kekFile": f"{folder}/kek",
        "migrationDatabase": f"host={host} user=postgres dbname=fieldseal", "baseURL": f"https://localhost:{port}",
        "https": {"host": "127.0.0.1", "port": port, "certificateFile": f"{folder}/server.pem", "privateKeyFile": f"{folder}/server.key"}}
    # These settings are as docs/operations.md shows them.
    lines |= {"socket": {"path": "/run/fieldseal/api.sock"}, "events": {"file": "/var/log/fieldseal/events.jsonl"}} | changes
    root.path(f"{folder}/fieldseal.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items() if v is not None))
    root.run("chown", "root:fieldseal", f"{folder}/fieldseal.yaml")
    root.run("chmod", "0640", f"{folder}/fieldseal.yaml")


#: Settings of a unit that name its folders, with the parent of these folders.
FOLDERS = {"RuntimeDirectory": "/run", "LogsDirectory": "/var/log", "StateDirectory": "/var/lib"}


def writable(text):
    """The folders that a unit may write to under ProtectSystem=strict, with the mode in which systemd makes each."""
    found = {}
    for setting, parent in FOLDERS.items():
        mode = re.search(rf"^{setting}Mode=(\d+)$", text, re.MULTILINE)
        for names in re.findall(rf"^{setting}=(.+)$", text, re.MULTILINE):
            found |= {f"{parent}/{name}": mode[1] if mode else "0755" for name in names.split()}
    return found


def confine(text, user):
    """A shell script that makes everything except the unit's folders read-only, and then runs its arguments."""
    assert "ProtectSystem=strict" in text and "ReadWritePaths=" not in text
    lines = ["set -e"]
    for folder, mode in writable(text).items():
        lines += [f"install -d -m {mode} -o {user} -g {user} {folder}", f"mount --bind {folder} {folder}"]
    return "\n".join([*lines, "mount -o remount,bind,ro /", 'exec "$@"'])


def start(root, unit, notices, environment={}):
    """Starts a unit's command as systemd does: with its user, its folders, and a socket for notices."""
    text = root.path(f"/usr/lib/systemd/system/{unit}").read_text()
    user, command = re.search(r"^User=(.+)$", text, re.MULTILINE).group(1), re.search(r"^ExecStart=(.+)$", text, re.MULTILINE).group(1)
    # libpq looks into the home folder, so this must not be the home of root.
    variables = ["HOME=/nonexistent", f"NOTIFY_SOCKET={notices}", "WATCHDOG_USEC=200000", *(f"{name}={value}" for name, value in environment.items())]
    return subprocess.Popen(
        root.command(
            "unshare", "--mount", "--propagation", "private", "bash", "-c", confine(text, user), "unit", "env", *variables, "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--no-new-privs", *shlex.split(command)),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def notices_until(process, notices, enough):
    """Reads the notices of a unit's process until the condition is true. Returns the notices."""
    seen, deadline = [], time.monotonic() + PATIENCE
    notices.settimeout(1)
    while not enough(seen):
        try:
            seen.append(notices.recv(100).decode())
        except TimeoutError:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, seen
    return seen
