"""failover/gap: the longest time without an acknowledged write while Patroni makes another PostgreSQL the primary."""

import subprocess
import threading
import time

from bench import paired, record
from patroni import Patroni
from server import Server
from service import PATIENCE
from waiting import until

FIGURES = ["failover/gap"]
#: The number of acknowledged writes before a switchover, and after it.
STEADY = 50


class Loop:
    """Repeats a write, and records the time of each success."""

    def __init__(self, write):
        self.write, self.acknowledged, self.is_over = write, [], threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.is_over.is_set():
            if self.write():
                self.acknowledged.append(time.monotonic())

    def wait_for_more(self):
        mark = len(self.acknowledged)
        until(lambda: len(self.acknowledged) >= mark + STEADY)

    def stop(self):
        """Ends the loop. Returns the longest time between two successful writes, in seconds."""
        self.is_over.set()
        self.thread.join(PATIENCE)
        return max(later - earlier for earlier, later in zip(self.acknowledged, self.acknowledged[1:]))


def gap(patroni, write):
    """The longest time without a successful write during one switchover, in seconds."""
    patroni.wait_until_whole()
    former = patroni.leader()
    loop = Loop(write)
    try:
        loop.wait_for_more()
        patroni.switch_over()
        until(lambda: patroni.leader() not in (None, former))
        loop.wait_for_more()
    finally:
        longest = loop.stop()
    return longest


def run(names):
    patroni = Patroni()
    server = None
    try:
        server = Server(patroni)
        patroni.leader().sql("CREATE TABLE public.loop (written timestamptz NOT NULL DEFAULT now())")
        hosts = ",".join(member.host for member in patroni.members)
        ports = ",".join(str(member.port) for member in patroni.members)
        conninfo = f"host={hosts} port={ports} dbname=fieldseal user=postgres target_session_attrs=read-write connect_timeout=3"

        def by_service():
            answer = server.request("POST", "mailboxes", {"name": "written"})
            assert answer.status_code in (204, 500, 503), answer.text
            return answer.status_code == 204

        def by_psql():
            command = ["psql", "-qX", conninfo, "-c", "INSERT INTO public.loop DEFAULT VALUES"]
            return subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

        ours, reference = paired(lambda: gap(patroni, by_service), lambda: gap(patroni, by_psql))
        record("failover/gap", ours / reference, "<= 1.5", seconds=round(ours, 2), psqlLoop=round(reference, 2))
    finally:
        if server:
            server.stop()
        patroni.remove()
