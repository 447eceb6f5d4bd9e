"""scale/start, scale/memory, scale/metrics and scale/migrate: the cost of many unused organizations, compared with few.

FIELDSEAL_BENCH_SLEEPING is the number of organizations. 10,000 take 20 GB of disk and an hour.
"""

import json
import os
import pathlib
import re
import threading
import time

import requests
from bench import record
from cluster import MIGRATIONS, NEWEST, Cluster
from copies import copy_organizations
from scale import token
from server import Server
from service import PATIENCE
from waiting import until

FIGURES = ["scale/start", "scale/memory", "scale/metrics", "scale/migrate"]
FEW, ALL = 10, int(os.environ.get("FIELDSEAL_BENCH_SLEEPING", "2000"))
#: The number of organizations that get a request before memory is measured again.
USED = 100
#: The number of organizations that are migrated one at a time.
SAMPLE = 100
STARTS = 5


def server_memory(server):
    """The resident memory of the server, and the private memory of PostgreSQL's processes for the server's connections, in MiB."""
    def value(file, key):
        return int(re.search(rf"^{key}:\s+(\d+) kB", pathlib.Path(file).read_text(), re.M)[1]) / 1024

    backends = server.cluster.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
    return value(f"/proc/{server.process.pid}/status", "VmRSS"), sum(value(f"/proc/{pid}/smaps_rollup", "Private_Dirty") for pid, in backends)


def ready(server):
    """The shortest of `STARTS` times from a server's start until it is ready, in seconds."""
    times = []
    for _ in range(STARTS):
        server.stop()
        start = time.monotonic()
        server.start()
        times.append(time.monotonic() - start)
    return min(times)


def scrape(server):
    """The seconds of the first request for metrics, and the size of the response in bytes."""
    log = (server.cluster.home / f"serve-{server.port}.log").read_text()
    port = [line["port"] for line in map(json.loads, re.findall(r"^{.*", log, re.M)) if line["message"] == "listening for metrics"][-1]
    start = time.monotonic()
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
    return time.monotonic() - start, len(text)


def use(server, names):
    """Requests a list in each of these organizations, with a new client."""
    for name in names:
        answer = requests.get(
            f"{server.base}/{name}/api/data/v9.2/mailboxes?$select=name&$top=1", verify=str(server.cluster.home / "server.pem"),
            headers={"Authorization": f"Bearer {token(server, name, 'direct')}"}, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text


def look(cluster, names):
    """Starts a server and uses these organizations. Returns the time of the start, the memory before and after the use, and the metrics' figures."""
    server = Server(cluster)
    start = ready(server)
    fresh = server_memory(server)
    metrics = scrape(server)
    use(server, names)
    used = server_memory(server)
    server.stop()
    return {"start": start, "fresh": fresh, "metrics": metrics, "used": used}


def done(cluster):
    return cluster.sql("SELECT count(*) FROM config.organization WHERE schema_version = %s", [NEWEST])[0][0]


def interrupted(cluster, parallel, number):
    """Runs `migrate up` until this number of organizations is migrated, and kills it. Returns the seconds for each organization."""
    before, start = done(cluster), time.monotonic()
    process = cluster.popen("migrate", "up", "--parallel", str(parallel))
    # If the output were not read, the command would wait.
    reader = threading.Thread(target=process.communicate)
    reader.start()
    until(lambda: done(cluster) >= before + number)
    assert process.poll() is None
    seconds = time.monotonic() - start
    migrated = done(cluster) - before
    process.kill()
    reader.join()
    return seconds / migrated


def migrate(cluster):
    """The seconds for an organization, one at a time and several at a time. Between the two measurements, the command is killed."""
    alone = interrupted(cluster, 1, min(SAMPLE, ALL // 10))
    interrupted(cluster, 8, (ALL - done(cluster)) // 2)
    left, start = ALL - done(cluster), time.monotonic()
    output = cluster.popen("migrate", "up").communicate()[0]
    each = (time.monotonic() - start) / left
    assert output.count(NEWEST) == left and done(cluster) == ALL, output[-500:]
    return alone, each


def run(names):
    cluster = Cluster("autovacuum_naptime=300", metrics={"port": 0})
    try:
        few = [f"few{number}" for number in range(FEW - 1)]
        for name in few:
            cluster.run("org", "create", name)
        small = look(cluster, few)
        cluster.run("org", "create", "template")
        cluster.step_back("template", MIGRATIONS[-2])
        copies = [f"sleeps-{number}" for number in range(ALL - FEW - 1)]
        copy_organizations(cluster, "template", copies)
        cluster.sql("VACUUM ANALYZE")
        alone, each = migrate(cluster)
        large = look(cluster, copies[:USED])
        note(names, small, large, alone, each)
    finally:
        cluster.remove()


def note(names, small, large, alone, each):
    if "scale/start" in names:
        seconds, reference = large["start"], small["start"]
        record("scale/start", seconds / reference, "<= 1.5", organizations=ALL, seconds=round(seconds, 3), with10=round(reference, 3))
    if "scale/memory" in names:
        detail = {
            f"{who}{when}{size}": round(found[key][place])
            for size, found in (("", large), ("With10", small)) for key, when in (("fresh", ""), ("used", "Used"))
            for place, who in enumerate(("serverMiB", "postgresMiB"))}
        memory, reference = sum(large["fresh"]), sum(small["fresh"])
        record("scale/memory", memory / reference, "<= 1.2", organizations=ALL, used=USED, **detail)
    if "scale/metrics" in names:
        seconds, size = large["metrics"]
        record("scale/metrics", seconds / 2, "<= 1", organizations=ALL, seconds=round(seconds, 2), bytes=size,
               with10=round(small["metrics"][0], 2), bytesWith10=small["metrics"][1])
    if "scale/migrate" in names:
        record("scale/migrate", each / alone, "<= 0.8", organizations=ALL, millisecondsEach=round(each * 1e3, 1),
               oneAtATime=round(alone * 1e3, 1))
