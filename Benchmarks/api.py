"""api/…: requests over 16 keep-alive connections with TLS, compared with statements in the same PostgreSQL or with other requests."""

import pathlib
import re
import subprocess
import tempfile
import time

import psycopg
import requests as http
from bench import ROOT, paired, record
from service import Deployment

FIGURES = ["api/create", "api/read", "api/list", "api/seal-cost", "api/memory"]
PAGE = 5_000
LISTED = "mailboxid,name,emailaddress,statecode,statuscode,createdon,modifiedon,versionnumber,_ownerid_value,ispasswordset"
CONNECTIONS = 16
SECONDS = 5


def load(service, path, body=None, type="application/json"):
    """Successful requests per second. Any response without a status 2xx ends the measurement."""
    url = path if path.startswith("http") else f"{service.api}/{path}"
    command = ["h2load", "--h1", "-c", str(CONNECTIONS), "-t", "1", "-D", str(SECONDS), "-H", f"Authorization: Bearer {service.token()}"]
    with tempfile.NamedTemporaryFile() as file:
        if body:
            file.write(body)
            file.flush()
            command += ["-d", file.name, "-H", f"Content-Type: {type}"]
        output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    good, *bad = map(int, statuses.groups())
    assert good > 0 and not any(bad), output
    return good / SECONDS


class Reference:
    """A copy of the database in the same PostgreSQL, for pgbench. In the service's own database, pgbench's events would have invalid tags, as after
    an attack."""

    def __init__(self, service):
        dump = subprocess.run(["pg_dump", service.dev["postgres"]], capture_output=True, check=True).stdout
        with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
            connection.execute("CREATE DATABASE bench_reference")
        self.address = psycopg.conninfo.make_conninfo(service.dev["postgres"], dbname="bench_reference")
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", self.address], input=dump, stdout=subprocess.DEVNULL, check=True)
        [row] = service.sql(
            """SELECT 'client:' || c.name, a.organization_id, a.revision, a.grants_digest, o.schema_version, c.client_id, c.tag, u.systemuserid, u.businessunitid
                 FROM config.attested_state AS a JOIN config.organization AS o USING (organization_id)
                 JOIN config.api_client AS c ON c.organization_id = a.organization_id AND c.name = 'dev-admin'
                 JOIN org_contoso.systemuser AS u ON u.systemuserid = c.systemuser_id""")
        names = ["actor", "organization", "revision", "digest", "schema", "client", "tag", "user", "unit"]
        values = [f"\\x{value.hex()}" if isinstance(value, bytes) else str(value) for value in row]
        self.variables = [argument for name, value in zip(names, values) for argument in ("-D", f"{name}={value}")]


def pgbench(reference, script):
    """Transactions of pgbench per second, over `CONNECTIONS` connections with prepared statements."""
    binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    program = str(binaries[-1]) if binaries else "pgbench"
    output = subprocess.run(
        [program, "-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", "1", "-T", str(SECONDS), "-f", script, *reference.variables,
         reference.address],
        capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    return float(re.search(r"tps = ([\d.]+)", output.stdout).group(1))


def requests(service, count, path):
    """Sends `count` reads. Any response without a status 2xx ends the measurement."""
    command = ["h2load", "--h1", "-c", str(CONNECTIONS), "-t", "1", "-n", str(count), "-H", f"Authorization: Bearer {service.token()}"]
    output = subprocess.run([*command, f"{service.api}/{path}"], capture_output=True, text=True, check=True).stdout
    assert f"status codes: {count} 2xx" in output, output


def resident(service):
    """The resident memory of the service, in MiB."""
    status = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


def rows_per_second(measure, repetitions=20):
    start = time.monotonic()
    for _ in range(repetitions):
        measure()
    return PAGE * repetitions / (time.monotonic() - start)


def run_list(service):
    service.sql(
        "INSERT INTO org_contoso.mailbox (mailboxid, name, emailaddress) "
        "SELECT gen_random_uuid(), 'mailbox ' || i, 'mailbox' || i || '@contoso.test' FROM generate_series(1, %s) AS i", [PAGE])
    service.sql("ANALYZE org_contoso.mailbox")
    session = http.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    # Turns compression off, because it costs time and helps only on a slow line.
    session.headers["Accept-Encoding"] = "identity"
    session.headers["Authorization"] = f"Bearer {service.token()}"
    columns = LISTED.replace("_ownerid_value", "ownerid")

    def page():
        content = session.get(f"{service.api}/mailboxes?$select={LISTED}").content
        assert content.count(b'"mailboxid"') == PAGE

    with psycopg.connect(service.dev["postgres"]) as connection:

        def copied():
            with connection.cursor().copy(
                    f"COPY (SELECT {columns} FROM org_contoso.mailbox ORDER BY mailboxid LIMIT {PAGE}) TO STDOUT") as copy:
                for _ in copy:
                    pass

        ours, reference = paired(lambda: rows_per_second(page), lambda: rows_per_second(copied))
    record("api/list", ours / reference, ">= 0.2", rowsPerSecond=round(ours), copy=round(reference))


def run(names):
    service = Deployment()
    try:
        service.start()
        # Measures lists first. After 100,000 creates, PostgreSQL would be busy cleaning up.
        if "api/list" in names:
            run_list(service)
        if "api/create" in names:
            body = b'{"name":"bench","password":"an ordinary mailbox password 32b"}'
            create = (ROOT / "Benchmarks/create.sql").as_posix()
            copy = Reference(service)
            ours, reference = paired(lambda: load(service, "mailboxes", body), lambda: pgbench(copy, create))
            record("api/create", ours / reference, ">= 0.75", requestsPerSecond=round(ours), pgbench=round(reference))
        if "api/read" in names:
            id = service.create("mailboxes", {"name": "bench", "password": "s"})
            ours, reference = paired(
                lambda: load(service, f"mailboxes({id})?$select=name,password,ispasswordset"),
                lambda: load(service, f"{service.base}/healthz"))
            record("api/read", ours / reference, ">= 0.6", requestsPerSecond=round(ours), constantAnswer=round(reference))
        if "api/seal-cost" in names:
            sealed, plain = b'{"name":"bench","password":"an ordinary mailbox password 32b"}', b'{"name":"bench"}'
            ours, reference = paired(lambda: load(service, "mailboxes", sealed), lambda: load(service, "mailboxes", plain))
            record("api/seal-cost", ours / reference, ">= 0.8", requestsPerSecond=round(ours), withoutPassword=round(reference))
        if "api/memory" in names:
            id = service.create("mailboxes", {"name": "bench", "password": "s"})
            requests(service, 1_000, f"mailboxes({id})")
            before = resident(service)
            requests(service, 99_000, f"mailboxes({id})")
            record("api/memory", resident(service) / before, "<= 1.1", mebibytes=round(resident(service), 1), before=round(before, 1))
    finally:
        service.remove()
