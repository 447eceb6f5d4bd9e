"""PostgreSQL, etcd and servers run on separate machines. The network between the machines is cut, sometimes in one direction only."""

import os
import random
import subprocess
import sys
import time

import pytest
from partitions import PARTITIONS, Place
from service import PATIENCE
from traffic import Readers, check_passwords
from waiting import until
from writers import PROMISE, Writers, check_writes


def sample():
    """The partitions to test: one with a new primary and one without. `make test-full` tests all."""
    if os.environ.get("FIELDSEAL_TEST_FULL"):
        return list(PARTITIONS)
    chance = random.Random(int(os.environ["FIELDSEAL_SEED"]))
    return [chance.choice([name for name, is_new in PARTITIONS.items() if is_new is kind]) for kind in (True, False)]


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
            # Patroni removes the standby that the primary can't reach from its synchronous standbys, and writes continue.
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
