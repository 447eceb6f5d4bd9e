"""Changes the key again and again while writers, readers and deleters work, and strikes at random: the program killed at a
statement, PostgreSQL stopped at once, the backend terminated, the connection cut. A model of registers knows every value that
may be there.

    torture.py [--cases N] [--seed S] [--cells N]
"""

import argparse
import collections
import pathlib
import random
import re
import signal
import sys
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / name) for name in ("Service/servers", "Reader", "Support")]

import requests  # noqa: E402
from cluster import Cluster  # noqa: E402
from server import Server  # noqa: E402

UNKNOWN = (requests.exceptions.RequestException,)
#: The code of an answer that says that it is not known whether the write was saved.
OUTCOME_UNKNOWN = "0x80044150"


class Violation(Exception):
    """Something that must hold did not."""


class Registers:
    """Mailboxes that one writer owns, and for each the values that it may have: one, or several while an answer is missing."""

    def __init__(self, server, number, seed):
        self.server, self.random, self.name = server, random.Random(f"{seed} writer {number}"), f"writer {number}"
        self.known = {}
        self.count = self.acknowledged = 0
        self.failures = collections.Counter()

    def step(self):
        self.count += 1
        value = f"{self.name} {self.count}"
        roll = self.random.random()
        if len(self.known) < 4 or roll < 0.05:
            id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
            self.write("PUT-NEW", id, value)
        elif roll < 0.15:
            self.write("DELETE", self.random.choice(list(self.known)), None)
        elif roll < 0.35:
            self.read(self.random.choice(list(self.known)))
        else:
            self.write("PATCH", self.random.choice(list(self.known)), value)

    def write(self, what, id, value):
        before = self.known.get(id, {None})
        try:
            if what == "DELETE":
                response = self.server.request("DELETE", f"mailboxes({id})")
            elif what == "PATCH":
                # A record that may be gone is not made again by an update.
                response = self.server.request("PATCH", f"mailboxes({id})", {"password": value}, {"If-Match": "*"})
            else:
                response = self.server.request("PATCH", f"mailboxes({id})", {"name": self.name, "password": value})
        except UNKNOWN:
            self.known[id] = before | {value}
            return
        if response.status_code == 204:
            self.acknowledged += 1
            self.known[id] = {value}
        elif response.status_code == 404 and None in before:
            self.known[id] = {None}
        elif response.status_code == 503 or OUTCOME_UNKNOWN in response.text:
            # The database was away; it may have been at the commit.
            self.failures[response.status_code] += 1
            self.known[id] = before | {value}
        else:
            raise Violation(f"{what} was answered {response.status_code}: {response.text}")
        if self.known[id] == {None}:
            del self.known[id]

    def read(self, id):
        try:
            response = self.server.request("GET", f"mailboxes({id})?$select=password,ispasswordset")
        except UNKNOWN:
            return
        if response.status_code == 503 or response.status_code == 404 and None in self.known[id]:
            return
        if response.status_code != 200 or response.json()["password"] is not None or not response.json()["ispasswordset"]:
            raise Violation(f"a mailbox with {self.known[id]} was read as {response.status_code} {response.text}")


class Workers:
    """Threads that step registers, between `go` and `halt`."""

    def __init__(self, registers):
        self.registers, self.errors = registers, []
        self.running, self.idle = threading.Event(), threading.Semaphore(0)
        self.ending = False
        self.threads = [threading.Thread(target=self._work, args=(r,), daemon=True) for r in registers]
        for thread in self.threads:
            thread.start()

    def _work(self, registers):
        while not self.ending:
            self.running.wait()
            while self.running.is_set() and not self.ending:
                try:
                    registers.step()
                except Exception as error:  # noqa: BLE001, told by `halt`
                    self.errors.append(error)
                    break
            self.idle.release()
            while self.running.is_set():
                time.sleep(0.001)

    def go(self):
        self.running.set()

    def halt(self):
        self.running.clear()
        for _ in self.threads:
            self.idle.acquire()
        if self.errors:
            raise self.errors[0]


class Torture:
    def __init__(self, seed, cells):
        self.random, self.seed = random.Random(seed), seed
        self.cluster = Cluster("max_connections=100", keys={"patienceSeconds": 5})
        self.server = None
        try:
            self.fixed = self.cluster.fill(cells)
            self.server = Server(self.cluster)
            self.registers = [Registers(self.server, number, seed) for number in range(4)]
            self.workers = Workers(self.registers)
            self.done = collections.Counter()
            self.answers = collections.Counter()
            assert self.cluster.change_through_proxy(None).returncode == 0
            self.length = len(self.cluster.proxy.statements)
        except BaseException:
            self.close()
            raise

    def close(self):
        if self.server:
            self.server.stop()
        self.cluster.remove()

    def tell(self):
        """What the service and PostgreSQL said last."""
        for log in [*self.cluster.home.glob("serve-*.log"), self.cluster.home / "postgres.log"]:
            lines = [
                line for line in log.read_text(errors="replace").splitlines()
                if ('"message":"request"' not in line if log.name.startswith("serve") else re.search("ERROR|FATAL|PANIC", line))
                and not re.search("is retired|terminating connection|connection to server|not yet accepting|starting up|called off|unexpected EOF", line)]
            print(f"== {log.name}", *lines[-40:], sep="\n", flush=True)

    def case(self):
        what = self.random.choices(["kill", "terminate", "cut", "stop PostgreSQL", "nothing"], [25, 30, 30, 4, 11])[0]
        where, when = self.random.randrange(self.length), self.random.choice(["before", "after"])
        before = self.cluster.key_version()
        self.workers.go()
        strike = None
        if what in ("kill", "terminate", "cut"):
            strike = lambda number, _: f"{what} {when}" if number == where else None  # noqa: E731
        if what == "stop PostgreSQL":
            strike = lambda number, _: self.stop_postgresql() if number == where else None  # noqa: E731
        result = self.cluster.change_through_proxy(strike)
        self.wait_for_database()
        self.done[what] += 1
        self.answers[result.returncode] += 1
        version = self.cluster.key_version()
        if result.returncode == 0 and version != before + 1:
            raise Violation(f"{what} {when} statement {where}: success was told, and the key version is {version}")
        if result.returncode == 1 and "hanged" in result.stderr and version != before:
            raise Violation(f"{what} {when} statement {where}: {result.stderr} was told, and the key version is {version}")
        if version not in (before, before + 1):
            raise Violation(f"{what} {when} statement {where}: from {before} to {version}")
        if what == "nothing" and result.returncode:
            raise Violation(f"an undisturbed change failed: {result.stderr}")
        return f"{what} {when} {where}"

    def stop_postgresql(self):
        self.cluster.stop(signal.SIGQUIT)
        self.cluster.start()
        return None

    def wait_for_database(self):
        deadline = time.monotonic() + 60
        while self.server.request("GET", "WhoAmI", attempts=1) is None:
            if time.monotonic() > deadline:
                raise Violation("the service does not come back")
            time.sleep(0.05)

    def check(self):
        """With nobody at work: every register has one of its values, nothing else is there, nothing is left over."""
        self.workers.halt()
        if self.cluster.run("key", "change", check=False).returncode:
            raise Violation("a change after the strikes failed")
        cells = self.cluster.opened_cells()
        for address, value in self.fixed.items():
            if cells.pop(address, None) != value:
                raise Violation(f"{address} is lost")
        for registers in self.registers:
            for id, values in list(registers.known.items()):
                found = cells.pop(f"mailbox({id}).password", None)
                if found not in values:
                    raise Violation(f"mailbox({id}) has {found!r} and should have one of {values}")
                registers.known[id] = {found}
                if found is None:
                    del registers.known[id]
        # What a writer deleted while its answer was lost is in no model, and must be gone or be known.
        if cells:
            raise Violation(f"cells without an owner: {list(cells)[:3]}")
        orphans = self.cluster.sql(
            "SELECT count(*) FROM mailbox_cell AS c LEFT JOIN mailbox AS m USING (mailboxid) WHERE m.mailboxid IS NULL")
        if orphans != [(0,)]:
            raise Violation(f"{orphans[0][0]} cells without a record")
        if left := self.cluster.leftovers():
            raise Violation(f"left over: {left}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--cells", type=int, default=200, help="mailboxes beside the writers'")
    options = parser.parse_args(arguments)
    print(f"torture: {options.cases} cases, --seed {options.seed}", flush=True)
    start = time.monotonic()
    torture = Torture(options.seed, options.cells)
    try:
        for number in range(1, options.cases + 1):
            try:
                what = torture.case()
                if number % 20 == 0 or number == options.cases:
                    torture.check()
            except Violation as violation:
                print(f"VIOLATED in case {number} of --seed {options.seed}: {violation}", flush=True)
                torture.tell()
                return 1
            if number % 100 == 0:
                print(f"{number} cases, last {what}, {time.monotonic() - start:.0f} s", flush=True)
        writes = sum(r.acknowledged for r in torture.registers)
        print(
            f"{options.cases} cases in {time.monotonic() - start:.0f} s, none violated: {dict(torture.done)}; "
            f"answers {dict(torture.answers)}; {writes} acknowledged writes", flush=True)
        return 0
    finally:
        torture.close()


if __name__ == "__main__":
    sys.exit(main())
