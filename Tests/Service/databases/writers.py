"""Threads that create mailboxes without a pause, and note the response to each request."""

import itertools
import threading
import time

from service import PATIENCE

#: The promised maximum of seconds from a promotion to the first acknowledged write.
PROMISE = 15
#: Numbers for the names of mailboxes, so that each name is used once in a test run.
NUMBERS = itertools.count()


def is_unknown(response):
    """Whether the response says that the outcome of the write is unknown."""
    return response.status_code == 500 and response.json()["error"]["code"] == "0x80044150" and "Retry-After" not in response.headers


def is_refusal(response):
    """Whether the response says that nothing was done and when to try again."""
    return response.status_code in (429, 503) and int(response.headers["Retry-After"]) > 0


class Writers:
    """Threads that create mailboxes with passwords. `saved`, `unknown`, `refused` and `failures` record the responses."""

    def __init__(self, server, count=4):
        self.server, self.stopped = server, threading.Event()
        self.began, self.saved, self.unknown, self.refused, self.failures = {}, [], [], [], []
        self.threads = [threading.Thread(target=self.work) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self):
        while not self.stopped.is_set():
            name = f"written-{next(NUMBERS)}"
            self.began[name] = time.monotonic()
            response = self.server.request("POST", "mailboxes", {"name": name, "password": f"secret of {name}"})
            if response.status_code == 204:
                self.saved.append((name, time.monotonic()))
            elif is_unknown(response):
                self.unknown.append(name)
            elif is_refusal(response):
                self.refused.append(name)
                time.sleep(0.05)
            else:
                self.failures.append((response.status_code, response.text))

    def saved_since(self, moment):
        return [at for _, at in self.saved if at > moment]

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def names(database):
    """The names of the mailboxes that `Writers` created and that exist in a database."""
    return [name for (name,) in database.sql("SELECT name FROM org_contoso.mailbox WHERE name LIKE 'written-%%'", [])]


def check_writes(writers, database, context=""):
    """Checks that each acknowledged mailbox exists exactly once, and that no refused one exists."""
    assert writers.failures == [], (context, writers.failures[:3])
    there = names(database)
    assert len(there) == len(set(there)), context
    lost = {name for name, _ in writers.saved} - set(there)
    assert not lost, (context, sorted(lost)[:5])
    assert set(writers.refused).isdisjoint(there), context
