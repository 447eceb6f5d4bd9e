"""Partitions: PostgreSQL, etcd and servers on machines of their own, between which the network is cut, also one way."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from network import Network
from patroni import Patroni
from server import Server, make_certificate
from service import PATIENCE
from traffic import Readers, check_passwords
from waiting import until
from writers import PROMISE, Writers, check_writes

#: What the primary is cut off from, and whether another server becomes the primary then.
PARTITIONS = {
    "everything": True, "etcd": True, "what it sends to etcd": True, "what etcd sends to it": True, "a Patroni that hangs": True,
    "its standby": False, "what its standby sends to it": False, "the servers": False, "what it sends to the servers": False}


def sample():
    """In `make test` one with another primary, and one without; all of them in `make test-full`."""
    if os.environ.get("FIELDSEAL_TEST_FULL"):
        return list(PARTITIONS)
    chance = random.Random(int(os.environ["FIELDSEAL_SEED"]))
    return [chance.choice([name for name, is_new in PARTITIONS.items() if is_new is kind]) for kind in (True, False)]


class Place:
    """Two PostgreSQL, an etcd and two servers, each on its own machine. Clients write at one server and read at the other."""

    def __init__(self):
        with contextlib.ExitStack() as stack:
            self.network = Network()
            stack.callback(self.network.remove)
            self.patroni = Patroni(machine=self.network.machine)
            stack.callback(self.patroni.remove)
            machines = [self.network.machine(f"server-{number}") for number in range(2)]
            make_certificate(self.patroni.home, *(machine.host for machine in machines))
            self.network.heal()
            self.servers = [Server(self.patroni, machine=machine) for machine in machines]
            for server in self.servers:
                stack.callback(server.stop)
            self.stack = stack.pop_all()

    def cut(self, name):
        """Cuts the primary off, and returns it with its standby."""
        primary, standby = self.patroni.leader(), self.patroni.standby()
        etcd, servers = self.patroni.place, [server.machine for server in self.servers]
        if name == "a Patroni that hangs":
            primary.process.send_signal(signal.SIGSTOP)
        sender, receivers, both = {
            "everything": (primary.machine, [etcd, standby.machine, *servers], True),
            "etcd": (primary.machine, [etcd], True),
            "what it sends to etcd": (primary.machine, [etcd], False),
            "what etcd sends to it": (etcd, [primary.machine], False),
            # Its PostgreSQL goes on as a primary, and servers reach it.
            "a Patroni that hangs": (primary.machine, [etcd, standby.machine], True),
            "its standby": (primary.machine, [standby.machine], True),
            "what its standby sends to it": (standby.machine, [primary.machine], False),
            "the servers": (primary.machine, servers, True),
            "what it sends to the servers": (primary.machine, servers, False)}[name]
        self.network.cut(sender, *receivers, both=both)
        return primary, standby

    def heal(self, primary):
        primary.process.send_signal(signal.SIGCONT)
        self.network.heal()


@pytest.fixture(scope="module")
def place():
    made = Place()
    with made.stack:
        yield made


def wait_for_writes(writers, readers, since):
    until(lambda: len(writers.saved_since(since)) > 20 and readers.answered[-1] > since)
    assert min(writers.saved_since(since)) - since < PROMISE
    assert min(at for at in readers.answered if at > since) - since < PROMISE


@pytest.mark.alone
@pytest.mark.parametrize("name", sample())
def test_the_primary_is_cut_off_from(place, name):
    patroni = place.patroni
    patroni.wait_until_whole()
    writers = Writers(place.servers[0])
    readers = Readers(place.servers[1], writers)
    try:
        until(lambda: len(writers.saved) > 20 and readers.answered)
        primary, standby = place.cut(name)
        if PARTITIONS[name]:
            until(standby.is_leader)
            wait_for_writes(writers, readers, time.monotonic())
        elif "servers" in name:
            mark = len(writers.refused)
            until(lambda: len(writers.refused) > mark + 5)
        else:
            # Patroni does without a standby that the primary does not hear. Nothing else changes.
            until(lambda: not patroni.standby())
            wait_for_writes(writers, readers, time.monotonic())
        place.heal(primary)
        wait_for_writes(writers, readers, time.monotonic())
        patroni.wait_until_whole()
        assert patroni.leader() is (standby if PARTITIONS[name] else primary)
        readers.stop()
        writers.stop()
    finally:
        readers.stopped.set()
        writers.stopped.set()
        place.heal(primary)
    check_writes(writers, patroni.leader(), name)
    readers.check()
    assert [server.process.poll() for server in place.servers] == [None, None]
    assert patroni.run("verify").returncode == 0
    check_passwords(patroni, patroni.leader(), writers)


def test_a_network_leaves_nothing_behind_also_when_its_process_is_killed():
    program = "import service, network; n = network.Network(); n.machine('one'); print(n.cable, n.hub.pid, flush=True); input()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    cable, hub = run.stdout.readline().split()
    assert os.path.exists(f"/sys/class/net/{cable}")
    run.kill()
    run.wait(PATIENCE)
    until(lambda: not os.path.exists(f"/sys/class/net/{cable}") and not os.path.exists(f"/proc/{hub}/ns/net"))
    run.stdin.close()
    run.stdout.close()
