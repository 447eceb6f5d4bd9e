"""PostgreSQL under Patroni and etcd. The primary is switched over, killed and paused while clients, a router and key changes continue."""

import contextlib
import os
import random
import signal
import time

import pytest
from mail_flow import MailFlow
from patroni import Patroni
from server import Server
from traffic import KeyChanges, Readers, check_passwords
from waiting import until
from writers import PROMISE, Writers, check_writes

#: The number of failures in a test: 2, or in `make test-full` 12 or FIELDSEAL_TEST_FAILOVERS.
ROUNDS = int(os.environ.get("FIELDSEAL_TEST_FAILOVERS", "12")) if os.environ.get("FIELDSEAL_TEST_FULL") else 2


def strike(patroni, how):
    """Makes the primary fail. Returns the former primary, the new one, and the time at which the test noticed the new one."""
    leader = patroni.leader()
    if how == "switch over":
        patroni.switch_over()
    else:
        leader.signal(signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    new = until(lambda: next((m for m in patroni.members if m is not leader and m.is_leader()), None))
    return leader, new, time.monotonic()


def bring_back(former, how):
    if how == "kill":
        former.start()
    if how == "pause":
        former.signal(signal.SIGCONT)


def rounds(patroni, writers, readers, plan, seed):
    """Makes one primary after another fail. Each time, clients must be able to write and read again within the promised time."""
    for number, how in enumerate(plan):
        mark = len(writers.saved)
        until(lambda: len(writers.saved) > mark + 20)
        former, _, seen = strike(patroni, how)
        until(lambda: len(writers.saved_since(seen)) > 20 and readers.answered[-1] > seen)
        assert min(writers.saved_since(seen)) - seen < PROMISE, (seed, number, how)
        assert min(at for at in readers.answered if at > seen) - seen < PROMISE, (seed, number, how)
        bring_back(former, how)
        if number + 1 < len(plan):
            patroni.wait_until_whole()
        elif how == "pause":
            # The former primary runs again, and for a moment takes itself for the primary.
            mark = len(writers.saved)
            until(lambda: len(writers.saved) > mark + 50)


def plan_of(kinds, seed):
    """The kinds of failures for a test: the given ones, and in longer tests random ones after them."""
    chance = random.Random(seed)
    return [*kinds, *(chance.choice(["switch over", "kill", "pause"]) for _ in range(ROUNDS - len(kinds)))]


@contextlib.contextmanager
def stopping(*workers):
    """Stops the threads of the workers at the end of the block, also if the test fails."""
    try:
        yield
    finally:
        for worker in workers:
            worker.stopped.set()


@pytest.mark.alone
def test_all_goes_on_while_patroni_changes_the_primary():
    seed = int(os.environ["FIELDSEAL_SEED"])
    plan = plan_of(["switch over", "kill"], seed)
    patroni = Patroni()
    with contextlib.ExitStack() as stack:
        stack.callback(patroni.remove)
        server = Server(patroni)
        stack.callback(server.stop)
        flow = MailFlow(server)
        stack.callback(flow.end)
        writers = Writers(server)
        readers, changes = Readers(server, writers), KeyChanges(patroni)
        workers = [flow, changes, readers, writers]
        stack.enter_context(stopping(*workers))
        rounds(patroni, writers, readers, plan, seed)
        for worker in workers:
            worker.stop()
        assert server.process.poll() is None
        leader = patroni.leader()
        check_writes(writers, leader, (seed, plan))
        readers.check()
        changes.check(leader)
        flow.check(leader)
        assert patroni.run("verify").returncode == 0
        check_passwords(patroni, leader, writers)
    assert server.process.returncode == 0


@pytest.mark.alone
def test_clients_go_on_behind_a_load_balancer_of_postgresql():
    """The settings name only HAProxy, which asks Patroni for the primary."""
    seed = int(os.environ["FIELDSEAL_SEED"])
    plan = plan_of(["pause", "kill", "switch over"], seed)
    patroni = Patroni()
    with contextlib.ExitStack() as stack:
        stack.callback(patroni.remove)
        server = Server(patroni, patroni.balance())
        stack.callback(server.stop)
        writers = Writers(server)
        readers = Readers(server, writers)
        stack.enter_context(stopping(readers, writers))
        rounds(patroni, writers, readers, plan, seed)
        readers.stop()
        writers.stop()
        assert server.process.poll() is None
        check_writes(writers, patroni.leader(), (seed, plan))
        readers.check()
        assert patroni.run("verify", settings="balanced").returncode == 0
        check_passwords(patroni, patroni.leader(), writers)
    assert server.process.returncode == 0
