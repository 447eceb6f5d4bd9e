#!/usr/bin/env python3
"""Takes the primary away again and again: it is killed, paused, cut off in network namespaces, and switched over, at random. Meanwhile
clients write and read at two servers, of which one connects by the host list and the other one through HAProxy. A router has mail flow,
and keys are changed. It needs root.

    failover_torture.py [--rounds N] [--seed S] [--minutes M]

It prints the seed, a line for each round, and what was found at the end: whether a write that was acknowledged is lost, or a change half
done, or a server was not well again within 15 seconds of the new primary. It exits with 1 then.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import random
import re
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS / "Service" / name) for name in ("servers", "databases", "support")]

import service  # noqa: E402,F401  It makes the other modules findable.
from mail_flow import MailFlow  # noqa: E402
from partitions import PARTITIONS, Place  # noqa: E402
from test_patroni import bring_back, stopping, strike  # noqa: E402
from traffic import KeyChanges, Readers, check_passwords  # noqa: E402
from waiting import until  # noqa: E402
from writers import PROMISE, Writers, check_writes  # noqa: E402

KINDS = ["kill", "pause", "partition", "switch over"]
WAYS = ["host list", "HAProxy"]


class Traffic:
    """The clients of one server."""

    def __init__(self, server):
        self.writers = Writers(server, 2)
        self.readers = Readers(server, self.writers, 1)
        self.workers = [self.readers, self.writers]

    def is_well(self, since):
        return len(self.writers.saved_since(since)) > 5 and self.readers.answered[-1] > since

    def gap(self, since):
        """Seconds until the first write and the first read that were answered."""
        return [round(min(moments) - since, 1) for moments in (
            self.writers.saved_since(since), [at for at in self.readers.answered if at > since])]


class Torture:
    def __init__(self, place):
        self.place, self.patroni = place, place.patroni
        self.traffic = [Traffic(server) for server in place.servers]
        self.violations = []

    def gaps(self, since):
        until(lambda: all(traffic.is_well(since) for traffic in self.traffic))
        gaps = {way: traffic.gap(since) for way, traffic in zip(WAYS, self.traffic)}
        self.violations += [f"{way}: {gap} s" for way, gap in gaps.items() if max(gap) >= PROMISE]
        return gaps

    def round(self, kind, partition):
        """What the clients of both servers noticed of one strike."""
        if kind != "partition":
            former, _, seen = strike(self.patroni, kind)
            gaps = self.gaps(seen)
            bring_back(former, kind)
            return gaps
        primary, standby = self.place.cut(partition)
        gaps = {}
        try:
            if PARTITIONS[partition]:
                until(standby.is_leader)
                gaps = self.gaps(time.monotonic())
            elif "servers" in partition:
                marks = [len(traffic.writers.refused) for traffic in self.traffic]
                until(lambda: all(len(t.writers.refused) > mark + 5 for t, mark in zip(self.traffic, marks)))
            else:
                until(lambda: not self.patroni.standby())
                gaps = self.gaps(time.monotonic())
        finally:
            self.place.heal(primary)
        healed = self.gaps(time.monotonic())
        return gaps or healed


def check(torture, flow, changes, seed):
    """Compares what the clients were told with what is there."""
    leader = torture.patroni.leader()
    counts = {}
    for way, traffic in zip(WAYS, torture.traffic):
        check_writes(traffic.writers, leader, (seed, way))
        traffic.readers.check()
        check_passwords(torture.patroni, leader, traffic.writers)
        counts[way] = {
            "saved": len(traffic.writers.saved), "refused": len(traffic.writers.refused), "unknown": len(traffic.writers.unknown),
            "read": len(traffic.readers.answered)}
    changes.check(leader)
    flow.check(leader)
    assert torture.patroni.run("verify").returncode == 0
    assert all(server.process.poll() is None for server in torture.place.servers)
    reasons = [re.sub("[0-9]+", "N", text.strip().split("\n")[-1])[:120] for text in changes.unsure]
    return {**counts, "keys changed": changes.done, "key changes refused or unsure": collections.Counter(reasons)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no round after that")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    chance, done, end = random.Random(options.seed), [], time.monotonic() + 60 * options.minutes
    place = Place(is_balanced=True)
    with place.stack as stack:
        flow = MailFlow(place.servers[0])
        stack.callback(flow.end)
        torture, changes = Torture(place), KeyChanges(place.patroni)
        workers = [flow, changes, *(worker for traffic in torture.traffic for worker in traffic.workers)]
        with contextlib.ExitStack() as running:
            running.enter_context(stopping(*workers))
            for number in range(1, options.rounds + 1):
                place.patroni.wait_until_whole()
                mark = time.monotonic()
                until(lambda since=mark: all(traffic.is_well(since) for traffic in torture.traffic))
                if time.monotonic() > end:
                    break
                kind, partition = chance.choice(KINDS), chance.choice(list(PARTITIONS))
                what = f"{kind}: {partition}" if kind == "partition" else kind
                print(f"{number:3} {what}: {json.dumps(torture.round(kind, partition))}", flush=True)
                done.append(kind)
            place.patroni.wait_until_whole()
            for worker in workers:
                worker.stop()
        counts = check(torture, flow, changes, options.seed)
    print(json.dumps({"rounds": {kind: done.count(kind) for kind in KINDS}, **counts, "slow": torture.violations}))
    sys.exit(1 if torture.violations else 0)


if __name__ == "__main__":
    main()
