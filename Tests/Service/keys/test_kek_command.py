"""A program that prints the key-encryption key: how often it runs, and what the server's memory keeps of its output."""

import base64
import json
import os
import pathlib
import signal
import subprocess

import pytest
from server import Server
from waiting import until

SHIM = pathlib.Path(__file__).parents[1] / "support/freed_shim.c"


@pytest.fixture
def command(cluster, tmp_path):
    """Makes a program the source of the key in the settings `command`. The program records each run; returns a function that reads the records."""
    program, runs = tmp_path / "print", tmp_path / "runs"
    program.write_text(f'#!/bin/sh\nunset LD_PRELOAD\necho "$PPID" >> {runs}\nexec cat {cluster.home}/kek\n')
    program.chmod(0o755)
    lines = [line for line in (cluster.home / "direct.yaml").read_text().splitlines() if not line.startswith("kekFile")]
    (cluster.home / "command.yaml").write_text("\n".join([*lines, f"kek: {json.dumps({'command': [str(program)]})}"]) + "\n")
    return lambda: runs.read_text().split()


@pytest.fixture
def server(cluster, command):
    server = Server(cluster, settings="command")
    try:
        yield server
    finally:
        server.stop()


def work(server):
    """Makes the server use what the key-encryption key wraps, seals and tags."""
    assert server.sign_in().status_code == 200
    for number in range(3):
        server.create("mailboxes", {"name": f"box {number}", "password": f"password {number}"})
    assert server.get("RetrieveDataEncryptionKey()").status_code == 200


def test_it_runs_once(server, command):
    work(server)
    log = pathlib.Path(server.log.name)
    before = log.stat().st_size
    (server.cluster.home / "server.pem").touch()
    server.process.send_signal(signal.SIGHUP)
    until(lambda: log.stat().st_size > before)
    work(server)
    assert command() == [str(server.process.pid)]


def readable(memory, begin, end):
    """The bytes of a mapping, up to the first that can't be read: after the end of its file, or in a mapping of the kernel."""
    memory.seek(begin)
    content = bytearray()
    try:
        while begin + len(content) < end and (part := memory.read(min(end - begin - len(content), 1 << 20))):
            content += part
    except (OSError, OverflowError):
        pass
    return content


def in_memory(pid, needles):
    """How often each of some byte strings is in a process's memory, and in which mappings."""
    found = {needle: [] for needle in needles}
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, access, *rest = line.split(maxsplit=5)
            begin, end = (int(address, 16) for address in span.split("-"))
            content = readable(memory, begin, end) if "r" in access else b""
            for needle in needles:
                found[needle] += [" ".join([span, *rest])] * content.count(needle)
    return found


def test_its_output_is_not_in_memory(server):
    """The program's output is nowhere in the server's memory. The key itself is, which shows that the search works."""
    text = (server.cluster.home / "kek").read_bytes().strip()
    key = base64.b64decode(text)
    assert len(key) == 64
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        # Searches for parts of the output too, because the beginning of freed memory is overwritten first.
        found = in_memory(server.process.pid, [key, *(text[start:start + 12] for start in range(0, len(text) - 12, 4))])
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert len(found.pop(key)) == 1
    assert not any(found.values()), found


def test_its_output_is_wiped_before_its_memory_is_given_back(cluster, command, tmp_path):
    """A preloaded library examines each block before free(). Freed memory is soon overwritten, so a later search would prove nothing."""
    library, found = tmp_path / "freed.so", tmp_path / "found"
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SHIM], check=True)
    watching = {"LD_PRELOAD": str(library), "FIELDSEAL_TEST_FREED": str(found)}
    for text, lines in ((cluster.home / "kek", {"watching"}), (cluster.home / "command.yaml", {"watching", "found"})):
        # The control: parts of the settings' text are in freed blocks.
        found.unlink(missing_ok=True)
        environment = {**os.environ, **watching, "FIELDSEAL_TEST_TEXT": str(text)}
        assert cluster.run("kek", "status", settings="command", env=environment).returncode == 0
        assert set(found.read_text().split()) == lines, text
    assert len(command()) == 2
