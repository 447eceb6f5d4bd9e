"""A program that prints the key-encryption key: how often the server runs it, and whether its output stays in the server's memory."""

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
    """Settings named `command`, whose key comes from a program that notes each run. Returns a function that reads the notes."""
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
    """Makes the server wrap, open and tag with the key-encryption key."""
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
    """The bytes of a memory mapping, up to the first byte that can't be read."""
    memory.seek(begin)
    content = bytearray()
    try:
        while begin + len(content) < end and (part := memory.read(min(end - begin - len(content), 1 << 20))):
            content += part
    except (OSError, OverflowError):
        pass
    return content


def in_memory(pid, needles):
    """For each byte string, the mappings of a process's memory in which it is, once for each occurrence."""
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
    """The output, which is the key in base64, is nowhere in the server's memory. The key's bytes are, which shows that the search works."""
    text = (server.cluster.home / "kek").read_bytes().strip()
    key = base64.b64decode(text)
    assert len(key) == 64
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        # Searches also for parts of the text, because the beginning of a freed block is overwritten first.
        found = in_memory(server.process.pid, [key, *(text[start:start + 12] for start in range(0, len(text) - 12, 4))])
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert len(found.pop(key)) == 1
    assert not any(found.values()), found


def test_its_output_is_wiped_before_its_memory_is_given_back(cluster, command, tmp_path):
    """A preloaded library examines each block of memory before free(). Later, the block may have been overwritten."""
    library, found = tmp_path / "freed.so", tmp_path / "found"
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SHIM], check=True)
    watching = {"LD_PRELOAD": str(library), "FIELDSEAL_TEST_FREED": str(found)}
    for text, lines in ((cluster.home / "kek", {"watching"}), (cluster.home / "command.yaml", {"watching", "found"})):
        # The control: the library finds parts of the settings' text in freed blocks.
        found.unlink(missing_ok=True)
        environment = {**os.environ, **watching, "FIELDSEAL_TEST_TEXT": str(text)}
        assert cluster.run("kek", "status", settings="command", env=environment).returncode == 0
        assert set(found.read_text().split()) == lines, text
    assert len(command()) == 2
