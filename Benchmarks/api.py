"""api/…: requests per second of 16 keep-alive connections over TLS, against the same PostgreSQL or the same server."""

import pathlib
import re
import subprocess
import tempfile

from bench import ROOT, paired, record
from service import Deployment

FIGURES = ["api/create", "api/read"]
CONNECTIONS = 16
SECONDS = 5


def load(service, path, body=None):
    """Requests per second that were answered with 2xx; any other answer ends the measurement."""
    url = path if path.startswith("http") else f"{service.api}/{path}"
    command = ["h2load", "--h1", "-c", str(CONNECTIONS), "-t", "1", "-D", str(SECONDS), "-H", f"Authorization: Bearer {service.token()}"]
    with tempfile.NamedTemporaryFile() as file:
        if body:
            file.write(body)
            file.flush()
            command += ["-d", file.name, "-H", "Content-Type: application/json"]
        output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    good, *bad = map(int, statuses.groups())
    assert good > 0 and not any(bad), output
    return good / SECONDS


def pgbench(service, script):
    """Transactions per second of as many connections, with prepared statements."""
    binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    program = str(binaries[-1]) if binaries else "pgbench"
    output = subprocess.run(
        [program, "-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "1", "-T", str(SECONDS), "-f", script, service.dev["postgres"]],
        capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    return float(re.search(r"tps = ([\d.]+)", output.stdout).group(1))


def run(names):
    service = Deployment()
    try:
        service.start()
        if "api/create" in names:
            body = b'{"name":"bench","password":"an ordinary mailbox password 32b"}'
            create = (ROOT / "Benchmarks/create.sql").as_posix()
            ours, reference = paired(lambda: load(service, "mailboxes", body), lambda: pgbench(service, create))
            record("api/create", ours / reference, ">= 0.5", requestsPerSecond=round(ours), pgbench=round(reference))
        if "api/read" in names:
            id = service.create("mailboxes", {"name": "bench", "password": "s"})
            ours, reference = paired(
                lambda: load(service, f"mailboxes({id})?$select=name,password,ispasswordset"),
                lambda: load(service, f"{service.base}/healthz"))
            record("api/read", ours / reference, ">= 0.5", requestsPerSecond=round(ours), constantAnswer=round(reference))
    finally:
        service.remove()
