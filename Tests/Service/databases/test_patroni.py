"""PostgreSQL under Patroni and etcd: the primary is switched over, killed and paused while clients write."""

import os
import random
import signal
import time

import pytest
from patroni import Patroni
from server import Server
from standby import wait_for
from writers import PROMISE, Writers, names

#: In `make test-full` all that may befall a primary, many times; FIELDSEAL_TEST_FAILOVERS sets another number.
ROUNDS = int(os.environ.get("FIELDSEAL_TEST_FAILOVERS", "12")) if os.environ.get("FIELDSEAL_TEST_FULL") else 2


def strike(patroni, how):
    """Takes the primary away, and returns the new one with the moment at which it was seen."""
    leader = patroni.leader()
    if how == "switch over":
        patroni.switch_over()
    else:
        leader.signal(signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    new = wait_for(lambda: next((m for m in patroni.members if m is not leader and m.is_leader()), None))
    return leader, new, time.monotonic()


@pytest.mark.alone
def test_clients_write_on_while_patroni_changes_the_primary():
    seed = int(os.environ["FIELDSEAL_SEED"])
    chance = random.Random(seed)
    plan = ["switch over", "kill"] + [chance.choice(["switch over", "kill", "pause"]) for _ in range(ROUNDS - 2)]
    patroni = Patroni()
    server = writers = None
    try:
        server = Server(patroni)
        writers = Writers(server)
        for number, how in enumerate(plan):
            mark = len(writers.saved)
            wait_for(lambda: len(writers.saved) > mark + 20)
            former, new, seen = strike(patroni, how)
            wait_for(lambda: len(writers.saved_since(seen)) > 20)
            assert min(writers.saved_since(seen)) - seen < PROMISE, (seed, number, how)
            if how == "kill":
                former.start()
            if how == "pause":
                former.signal(signal.SIGCONT)
            if number + 1 < len(plan):
                patroni.wait_until_whole()
        writers.stop()
        assert writers.failures == [] and server.process.poll() is None
        there = names(patroni.leader())
        assert len(there) == len(set(there))
        lost = {name for name, _ in writers.saved} - set(there)
        assert not lost, (seed, plan, sorted(lost)[:5])
        assert set(writers.refused).isdisjoint(there)
        assert patroni.run("verify").returncode == 0
    finally:
        if writers:
            writers.stopped.set()
        if server:
            server.stop()
        patroni.remove()
    assert server.process.returncode == 0
