"""pages/…: each page of the console in an organization with 100,000 mailboxes, 100,000 e-mails, 1,000,000 security events and 1,000,000 changes."""

import os
import pathlib
import re
import time

import requests
from bench import paired, record
from many_records import CHANGES, EMAILS, EVENTS, MAILBOXES, PAGES, fill
from service import Deployment

FIGURES = ["pages/lists", "pages/evidence", "pages/others", "pages/time", "pages/memory"]
#: The limit for each page in milliseconds, on a machine with little other work.
LIMIT = 300
#: The limit for the additional memory of the service after all pages and exports, in MiB.
ROOM = 64
EXPORTS = ("records/mailboxes/export.csv", "audit.csv?table=mailbox")


class Administrator:
    """A signed-in administrator."""

    def __init__(self, service):
        self.root, self.session = f"{service.base}/contoso", requests.Session()
        self.session.trust_env, self.session.verify = False, service.dev["caFile"]
        self.session.headers.update({"Origin": service.base, "Accept": "text/html", "Accept-Language": "en"})
        known = service.dev["console"]
        self.session.post(f"{self.root}/sign-in", {"name": known["username"], "password": known["password"]})

    def milliseconds(self, page):
        start = time.monotonic()
        answer = self.session.get(f"{self.root}/{page}")
        taken = (time.monotonic() - start) * 1_000
        assert answer.status_code == 200 and "/sign-in" not in answer.url, (page, answer.url, answer.text[:500])
        return taken

    def export(self, path):
        """Reads an export to its end without keeping it. Returns (seconds, MiB)."""
        start = time.monotonic()
        with self.session.get(f"{self.root}/{path}", stream=True) as answer:
            assert answer.status_code == 200, path
            size = sum(len(part) for part in answer.iter_content(1 << 20))
        return time.monotonic() - start, size / (1 << 20)


def populate(service):
    """Makes the records. Returns the addresses of pages."""
    profile = service.create("emailserverprofiles", {"name": "test", "incomingserverlocation": "imap.test", "outgoingserverlocation": "smtp.test"})
    box = service.create("mailboxes", {"name": "measured", "password": "x", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    fill(service)
    [(person,)] = service.sql("SELECT user_id::text FROM config.console_user LIMIT 1")
    return (
        f"records/mailboxes/{box}", f"records/emailserverprofiles/{profile}", f"audit?id={box}", f"records/emails?of={box}", "records/queues", "records/emails",
        "records/tracelogs", "records/usersettingscollection", "connect", "compose", "settings/data-encryption", "settings/data-encryption/change", "settings/approvals",
        f"access/people/{person}", "access/rules", "account", "shortcuts")


def memory(service, name):
    """A memory figure of the service, such as VmRSS, in MiB."""
    status = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1_024


def processor(service):
    """The processor time of the service and its PostgreSQL in milliseconds, which other programs do not affect."""
    root, ticks = service.postgres_pid(), 0
    for folder in pathlib.Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split() if folder.name.isdigit() else None
        except OSError:
            continue
        if fields and (int(fields[1]) == root or int(folder.name) in (root, service.process.pid)):
            # The postmaster's figures include the time of parallel workers that have ended.
            ticks += sum(map(int, fields[11:15] if int(folder.name) == root else fields[11:13]))
    return ticks * 1_000 / os.sysconf("SC_CLK_TCK")


def count(service):
    """The milliseconds in which PostgreSQL counts all security events."""
    start = time.monotonic()
    service.sql("SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM org_contoso.security_event")
    return (time.monotonic() - start) * 1_000


def group(page):
    if page.startswith("records/"):
        return "pages/lists"
    return "pages/evidence" if page.split("?")[0] in ("events", "audit") else "pages/others"


def measure(service, administrator, pages):
    """Measures and prints every page. Returns the slowest page of each group: {group: (ratio, milliseconds of the page, of the reference, of
    processors, page)}."""
    slowest = {}
    for page in pages:
        ours, reference = paired(lambda: administrator.milliseconds(page), lambda: count(service), runs=5)
        before = processor(service)
        for _ in range(5):
            administrator.milliseconds(page)
        taken = (processor(service) - before) / 5
        print(f"    {ours:7.1f} ms  {reference:7.1f} ms  {taken:5.0f} ms of processors  {page}", flush=True)
        slowest[group(page)] = max(slowest.get(group(page), (0,)), (ours / reference, ours, reference, taken, page))
    return slowest


def run(names):
    service = Deployment()
    try:
        service.start()
        pages = (*PAGES, *populate(service))
        administrator = Administrator(service)
        for page in pages:
            administrator.milliseconds(page)
        before = memory(service, "VmRSS")
        pathlib.Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")
        slowest = measure(service, administrator, [page for page in pages if group(page) in names or {"pages/memory", "pages/time"} & set(names)])

        def ratio(name):
            return slowest[name][0]

        def detail(name):
            _, ours, reference, taken, page = slowest[name]
            figures = {"milliseconds": ours, "limit": LIMIT, "referenceMilliseconds": reference, "processorMilliseconds": taken}
            return {**{name: round(value) for name, value in figures.items()}, "slowest": page}

        lists, evidence, others = FIGURES[:3]
        if lists in names:
            record("pages/lists", ratio(lists), "<= 3", records=MAILBOXES, emails=EMAILS, **detail(lists))
        if evidence in names:
            record("pages/evidence", ratio(evidence), "<= 3", events=EVENTS, changes=CHANGES, **detail(evidence))
        if others in names:
            record("pages/others", ratio(others), "<= 3", **detail(others))
        if "pages/time" in names:
            milliseconds, page = max((found[1], found[4]) for found in slowest.values())
            record("pages/time", milliseconds / LIMIT, "<= 1", milliseconds=round(milliseconds), limit=LIMIT, slowest=page)
        if "pages/memory" in names:
            exports = {path.split("?")[0].split("/")[-1]: "{:.1f} s, {:.0f} MiB".format(*administrator.export(path)) for path in EXPORTS}
            above = memory(service, "VmHWM") - before
            record("pages/memory", above / ROOM, "<= 1", mebibytes=round(above, 1), before=round(before, 1), **exports)
    finally:
        service.remove()
