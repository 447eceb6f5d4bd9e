"""Compares two programs, each with a separate deployment, alternately: requests per second, and processor time for a request.

    compare.py BEFORE AFTER [ROUNDS]

BEFORE and AFTER are release builds of `fieldseal`. If other programs use the machine, processor time is more reliable than requests
per second. Each figure is the median of the rounds' ratios AFTER : BEFORE.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

KINDS = {"read": "reading a record", "create": "creating a mailbox with a password", "list": "a page of 5,000 records", "constant": "a constant response"}
TICK = os.sysconf("SC_CLK_TCK")


def spent(pid):
    """The processor time that a process has used, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def serve(program):
    """Runs a deployment of this program. For each line of standard input, measures the requests that the line names."""
    os.environ["FIELDSEAL"] = program
    import api
    import requests
    from service import Deployment

    service = Deployment()
    try:
        service.start()
        id = service.create("mailboxes", {"name": "bench", "password": "s"})
        service.sql(
            "INSERT INTO org_contoso.mailbox (mailboxid, name, emailaddress) SELECT gen_random_uuid(), 'mailbox ' || i, 'mailbox' || i || '@contoso.test' "
            "FROM generate_series(1, %s) AS i", [api.PAGE])
        service.sql("ANALYZE org_contoso.mailbox")
        session = requests.Session()
        session.trust_env, session.verify = False, service.dev["caFile"]
        session.headers.update({"Authorization": f"Bearer {service.token()}", "Accept-Encoding": "identity"})

        def pages():
            start = time.monotonic()
            for _ in range(20):
                content = session.get(f"{service.api}/mailboxes?$select={api.LISTED}").content
                assert content.count(b'"mailboxid"') == api.PAGE
            return 20 / (time.monotonic() - start)

        body = b'{"name":"bench","password":"an ordinary mailbox password 32b"}'
        measures = {
            "read": lambda: api.load(service, f"mailboxes({id})?$select=name,password,ispasswordset"),
            "create": lambda: api.load(service, "mailboxes", body),
            "list": pages,
            "constant": lambda: api.load(service, f"{service.base}/healthz"),
        }
        print("ready", flush=True)
        for line in sys.stdin:
            before, start = spent(service.process.pid), time.monotonic()
            rate = measures[line.strip()]()
            seconds = time.monotonic() - start
            print(json.dumps([rate, (spent(service.process.pid) - before) / (rate * min(seconds, api.SECONDS))]), flush=True)
    finally:
        service.remove()


def main(before, after, rounds=7):
    sides = [
        subprocess.Popen([sys.executable, __file__, "--serve", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for program in (before, after)]

    def measure(side, kind):
        side.stdin.write(f"{kind}\n")
        side.stdin.flush()
        return json.loads(side.stdout.readline())

    try:
        for side in sides:
            assert side.stdout.readline() == "ready\n", "a program does not start"
        for kind in ("list", "read", "constant", "create"):
            for side in sides:
                measure(side, kind)
            found = []
            for number in range(rounds):
                order = sides if number % 2 else sides[::-1]
                measured = {side.pid: measure(side, kind) for side in order}
                found.append([measured[side.pid] for side in sides])
            rate, time = (statistics.median(new[n] / old[n] for old, new in found) for n in (0, 1))
            median = statistics.median(new[1] for _, new in found)
            print(f"{KINDS[kind]}: {rate:.2f} times as many per second, {time:.2f} times the processor time of the service ({median * 1e6:.0f} µs)", flush=True)
    finally:
        for side in sides:
            side.stdin.close()
            side.wait(60)


if __name__ == "__main__":
    ROOT = pathlib.Path(__file__).resolve().parents[1]
    sys.path[:0] = [str(ROOT / name) for name in ("Benchmarks", "Tests/Service/servers", "Tests/Service/support", "Tests/Support", "Tests/Reader")]
    if sys.argv[1] == "--serve":
        serve(sys.argv[2])
    else:
        main(*sys.argv[1:3], *map(int, sys.argv[3:4]))
