"""Traffic while a primary fails: threads that read records and that change the key. They note each response."""

import collections
import json
import time

import cell_reader
from worker import Worker
from writers import is_refusal


class Readers(Worker):
    """Threads that request the record whose creation was acknowledged last, and note if it is missing."""

    def __init__(self, server, writers, count=2):
        self.server, self.writers, self.answered, self.failures = server, writers, [], []
        super().__init__(count)

    def step(self):
        if not self.writers.saved:
            self.stopped.wait(0.05)
            return
        name, _ = self.writers.saved[-1]
        response = self.server.request("GET", f"mailboxes?$select=name&$filter=name eq '{name}'")
        if response.status_code == 200:
            self.answered.append(time.monotonic())
            if [record["name"] for record in response.json()["value"]] != [name]:
                self.failures.append((name, response.text))
        elif is_refusal(response):
            self.stopped.wait(0.05)
        else:
            self.failures.append((response.status_code, response.text))

    def check(self):
        assert self.failures == [] and self.answered, self.failures[:3]


class KeyChanges(Worker):
    """Changes the key with the command until stopped."""

    def __init__(self, place):
        self.place, self.done, self.unsure = place, 0, []
        super().__init__()

    def step(self):
        result = self.place.run("key", "change", "--json", check=False)
        if result.returncode == 0:
            self.done += 1
        else:
            self.unsure.append(result.stderr)
        self.stopped.wait(0.5)

    def check(self, database):
        """Checks that the key version counts each change that succeeded, and of the failed ones any number. Opens all cells under the key in force."""
        version = json.loads(self.place.run("key", "status", "--json").stdout)["keyVersion"]
        assert self.done > 0 and 1 + self.done <= version <= 1 + self.done + len(self.unsure), (version, self.done, self.unsure)
        key = self.place.run("key", "show", "--org", "contoso").stdout.strip()
        versions = [v for _, v, _ in cell_reader.read_organization(database.conninfo, "org_contoso", key)]
        # The reader leaves out cells under other versions, so the number is compared with the records that have a password.
        [(passwords,)] = database.sql(PASSWORDS)
        assert versions == [version] * passwords and passwords > 0, (version, passwords, collections.Counter(versions))


#: How many passwords there are, by the columns of the records.
PASSWORDS = """
    SELECT (SELECT count(*) FILTER (WHERE ispasswordset) FROM org_contoso.mailbox)
           + (SELECT count(*) FILTER (WHERE isincomingpasswordset) + count(*) FILTER (WHERE isoutgoingpasswordset) FROM org_contoso.emailserverprofile)
           + (SELECT count(*) FILTER (WHERE isemailpasswordset) FROM org_contoso.queue)
           + (SELECT count(*) FILTER (WHERE isemailpasswordset) FROM org_contoso.usersettings)"""


def check_passwords(place, database, writers):
    """Checks with the tests' own reader that the password of each acknowledged mailbox opens."""
    key = place.run("key", "show", "--org", "contoso").stdout.strip()
    ids = dict(database.sql("SELECT name, mailboxid::text FROM org_contoso.mailbox WHERE name LIKE 'written-%%'", []))
    opened = {a: s for a, _, s in cell_reader.read_organization(database.conninfo, "org_contoso", key)}
    wrong = [name for name, _ in writers.saved if opened.get(f"mailbox({ids[name]}).password") != f"secret of {name}"]
    assert not wrong, wrong[:5]
