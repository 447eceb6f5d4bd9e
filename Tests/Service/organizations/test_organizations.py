"""Organizations are suspended and resumed, renamed, listed and removed. A removal leaves no trace."""

import json
import signal
import subprocess

import psycopg
import pytest
import requests
from attested import Attestor
from cluster import Cluster
from server import Server
from service import PATIENCE


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    cluster.fill(200)
    # `org` commands connect with `migrationDatabase`, so this setting must also name the proxy.
    text = (cluster.home / "proxied.yaml").read_text().splitlines()
    proxied = f"host=127.0.0.1 port={cluster.proxy.port} user=postgres dbname=fieldseal sslmode=disable gssencmode=disable"
    lines = [f"migrationDatabase: {json.dumps(proxied)}" if line.startswith("migrationDatabase") else line for line in text]
    (cluster.home / "proxied.yaml").write_text("\n".join(lines) + "\n")
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def server(cluster):
    server = Server(cluster)
    try:
        yield server
    finally:
        server.stop()


class Tenant:
    """A new organization with a client, a person, a mailbox with a password, and a key that was copied out."""

    def __init__(self, cluster, server, name):
        self.cluster, self.server, self.name = cluster, server, name
        cluster.run("org", "create", name)
        self.client = json.loads(cluster.run("client", "add", "app", "--org", name, "--role", "System Administrator", "--json").stdout)
        cluster.run("user", "add", "grace", "--org", name, "--role", "System Administrator", stdin="a password of grace\n")
        self.key = cluster.run("key", "show", "--org", name).stdout.strip()
        [(self.id,)] = cluster.sql("SELECT organization_id::text FROM config.organization WHERE name = %s", [name])
        if server:
            self.token = self.sign_in().json()["access_token"]
            assert self.request("POST", "mailboxes", {"name": "box", "password": "pa55-of-the-box"}).status_code == 204

    def post(self, path, **options):
        return requests.post(f"{self.server.base}/{self.name}/{path}", verify=self.cluster.home / "server.pem", timeout=PATIENCE, **options)

    def sign_in(self, secret=None):
        return self.post("oauth2/v2.0/token", data={
            "grant_type": "client_credentials", "client_id": self.client["clientId"], "client_secret": secret or self.client["clientSecret"]})

    def request(self, method, path, body=None, name=None):
        return requests.request(
            method, f"{self.server.base}/{name or self.name}/api/data/v9.2/{path}", json=body, verify=self.cluster.home / "server.pem",
            headers={"Authorization": f"Bearer {self.token}"}, timeout=PATIENCE)

    def findings(self):
        findings = json.loads(self.cluster.run("doctor", "--json", check=False).stdout)["findings"]
        return {f["code"]: f for f in findings if f["subject"] == self.name}

    def row(self):
        listed = json.loads(self.cluster.run("org", "list", "--json").stdout)
        return next((o for o in listed if o["organization"] == self.name), None)


def traces(cluster, *words):
    """Dumps the whole database. Returns the lines that contain one of the words."""
    dump = subprocess.run(
        ["pg_dump", "-h", str(cluster.home), "-U", "postgres", "fieldseal"], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
    return [line[:200] for line in dump.splitlines() if any(word in line for word in words)]


def test_a_suspended_organization_is_refused_until_it_is_resumed(cluster, server):
    tenant = Tenant(cluster, server, "resting")
    assert "organization-suspended" not in tenant.findings()
    cluster.run("org", "suspend", "resting")
    for answer in (tenant.request("GET", "mailboxes"), tenant.request("POST", "mailboxes", {"name": "x"}), tenant.sign_in()):
        assert answer.status_code == 403 and "is suspended" in answer.text, answer.text
    page = requests.get(f"{server.base}/resting/sign-in", verify=cluster.home / "server.pem", timeout=PATIENCE)
    assert page.status_code == 403 and "org resume resting" in page.text
    # Other organizations are served, and commands can open the suspended one.
    assert server.request("GET", "mailboxes").status_code == 200
    assert "all of them open" in cluster.run("verify", "--org", "resting").stdout
    assert tenant.row()["status"] == "suspended" and tenant.row()["suspendedOn"]
    assert "was suspended already" in cluster.run("org", "suspend", "resting").stdout
    # SQL can't resume the organization, because the attested list says that it is suspended.
    cluster.sql("UPDATE config.organization SET suspended_on = NULL, suspended_by = NULL WHERE name = 'resting'")
    assert tenant.request("GET", "mailboxes").status_code == 403
    assert "suspension-undone" in tenant.findings()
    # Attaching the organization does not resume it, even if SQL has changed its row.
    cluster.run("org", "attach", "resting", "--yes")
    assert tenant.request("GET", "mailboxes").status_code == 403 and "suspension-undone" in tenant.findings()
    cluster.run("org", "suspend", "resting")
    assert set(tenant.findings()) == {"organization-suspended"}
    cluster.run("org", "attach", "resting", "--yes")
    assert tenant.request("GET", "mailboxes").status_code == 403
    cluster.run("org", "resume", "resting")
    assert tenant.request("GET", "mailboxes").status_code == 200 and tenant.sign_in().status_code == 200
    assert tenant.row()["status"] == "served" and tenant.findings() == {}
    # SQL can't suspend an organization.
    cluster.sql("UPDATE config.organization SET suspended_on = now(), suspended_by = 'sql' WHERE name = 'resting'")
    assert tenant.request("GET", "mailboxes").status_code == 200 and "suspension-not-made-here" in tenant.findings()
    cluster.run("org", "resume", "resting")
    assert tenant.findings() == {}
    kinds = [k for (k,) in cluster.sql("SELECT kind FROM org_resting.security_event ORDER BY security_event_id") if "suspend" in k or "resume" in k]
    assert kinds == ["organization suspended", "organization resumed"]
    assert cluster.run("org", "suspend", "nosuch", check=False).returncode == 1


def test_an_organization_is_renamed_with_all_that_it_has(cluster, server):
    tenant = Tenant(cluster, server, "old-name")
    assert tenant.request("GET", "mailboxes").status_code == 200
    cluster.run("org", "rename", "old-name", "new-name")
    # The server has a session of the client in memory, under the former name. It refuses the session.
    assert tenant.request("GET", "mailboxes", name="old-name").status_code in (401, 404)
    assert cluster.sql("SELECT to_regnamespace('org_old_name') IS NULL, to_regnamespace('org_new_name') IS NOT NULL") == [(True, True)]
    tenant.name = "new-name"
    tenant.token = tenant.sign_in().json()["access_token"]
    [box] = tenant.request("GET", "mailboxes?$select=name,ispasswordset").json()["value"]
    assert (box["name"], box["ispasswordset"]) == ("box", True)
    assert tenant.request("POST", "queues", {"name": "after", "emailaddress": "a@contoso.test", "emailpassword": "x-password-1"}).status_code == 204
    assert cluster.run("key", "show", "--org", "new-name").stdout.strip() == tenant.key
    cluster.run("key", "change", "--org", "new-name")
    assert "2 cells" in cluster.run("verify", "--org", "new-name").stdout
    assert {code for code, f in tenant.findings().items() if f["severity"] != "warning"} == set()
    cluster.run("events", "verify", "--org", "new-name")
    # If the new name is used already or malformed, nothing is changed.
    for name, words in [("contoso", "taken"), ("Upper", "can't be"), ("new-name", "can't be")]:
        refused = cluster.run("org", "rename", "new-name", name, check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused
    assert tenant.row()["schema"] == "org_new_name"


def test_the_list_has_sizes_and_the_state_of_keys(cluster):
    rows = {o["organization"]: o for o in json.loads(cluster.run("org", "list", "--json").stdout)}
    row = rows["contoso"]
    [(cells,)] = cluster.sql("SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relnamespace = 'org_contoso'::regnamespace AND relname ~ '_cell_k' AND relkind = 'r'")
    assert row["cellBytes"] == cells and row["bytes"] > cells and row["keyState"] == "active" and row["status"] == "served"
    assert row["keyVersion"] == cluster.key_version() and row["nextChangeDue"] > row["keySetOn"]
    lines = cluster.run("org", "list").stdout.splitlines()
    assert lines[0].split()[:2] == ["NAME", "STATUS"] and any("MiB" in line and line.startswith("contoso") for line in lines)
    # A key is due after 365 days, in each command's output, also if 29 February is one of these days.
    cluster.sql("SET fieldseal.maintenance = 'on'; UPDATE org_contoso.encryption SET changed_on = '2023-06-01T00:00:00Z'")
    due = json.loads(cluster.run("key", "status", "--org", "contoso", "--json").stdout)["nextChangeDue"]
    rows = {o["organization"]: o for o in json.loads(cluster.run("org", "list", "--json").stdout)}
    assert rows["contoso"]["nextChangeDue"] == due and due.startswith("2024-05-31T00:00:00")
    cluster.sql("SET fieldseal.maintenance = 'on'; UPDATE org_contoso.encryption SET changed_on = now()")
    cluster.run("org", "create", "wrecked")
    cluster.sql("DROP SCHEMA org_wrecked CASCADE")
    rows = {o["organization"]: o for o in json.loads(cluster.run("org", "list", "--json").stdout)}
    assert rows["wrecked"]["status"] == "schema missing" and rows["wrecked"]["bytes"] is None
    # An organization without its schema can't be exported, but its rows can be removed.
    refused = cluster.run("org", "remove", "wrecked", "--export", str(cluster.home / "wrecked"), stdin="wrecked\n", check=False)
    assert refused.returncode == 1 and "schema is missing" in refused.stderr
    cluster.run("org", "remove", "wrecked", "--without-export", stdin="wrecked\n")
    assert traces(cluster, "wrecked") == []


@pytest.mark.parametrize("table", ["config.attested_state", "config.api_client", "org_bereft.security_event"])
def test_a_table_that_is_missing_is_named(cluster, server, table):
    if "bereft" not in [o["organization"] for o in json.loads(cluster.run("org", "list", "--json").stdout)]:
        Tenant(cluster, None, "bereft")
    schema, name = table.split(".")
    guarded = "SET fieldseal.maintenance = 'on'; SET session_replication_role = replica; "
    cluster.sql(f"{guarded}ALTER TABLE {table} RENAME TO elsewhere")
    try:
        row = next(o for o in json.loads(cluster.run("org", "list", "--json").stdout) if o["organization"] == "bereft")
        assert row["status"] == "table missing" and row["missingTables"] == [table]
        assert f"table missing: {table}" in cluster.run("org", "list").stdout
        for command in (["verify", "--org", "bereft"], ["key", "show", "--org", "bereft"], ["doctor", "--org", "bereft"]):
            told = cluster.run(*command, check=False)
            assert told.returncode != 0 and table in told.stdout + told.stderr and "no organization" not in told.stdout + told.stderr, told
        answer = requests.post(
            f"{server.base}/bereft/sign-in", {"name": "grace", "password": "a password of grace"}, headers={"Origin": server.base, "Accept": "text/html"},
            verify=cluster.home / "server.pem", timeout=PATIENCE)
        assert answer.status_code == 403 and table in answer.text, answer.text
        # The message about the missing table is not given for an organization that does not exist.
        missing = cluster.run("verify", "--org", "neverwas", check=False)
        assert table not in missing.stdout + missing.stderr and "no organization" in missing.stdout + missing.stderr
    finally:
        cluster.sql(f"{guarded}ALTER TABLE {schema}.elsewhere RENAME TO {name}")
    assert next(o for o in json.loads(cluster.run("org", "list", "--json").stdout) if o["organization"] == "bereft")["status"] == "served"


def test_a_removed_organization_leaves_nothing(cluster, server, tmp_path):
    tenant = Tenant(cluster, server, "departed")
    assert tenant.sign_in("wrong").status_code == 401
    tenant.post("sign-in", data={"name": "grace", "password": "wrong"}, headers={"Origin": server.base})
    cluster.run("key", "change", "--org", "departed")
    file = tmp_path / "departed.fieldseal"

    def remove(*arguments, stdin="departed\n"):
        return cluster.run("org", "remove", "departed", *arguments, stdin=stdin, check=False)

    assert remove().returncode == 64 and remove("--export", str(file), "--without-export").returncode == 64
    # The new key was not copied out, so nobody could open the export. The removal is refused.
    refused = remove("--export", str(file))
    assert refused.returncode == 1 and "never copied out" in refused.stderr
    key = cluster.run("key", "show", "--org", "departed").stdout
    assert remove("--export", str(file), stdin="departe\n").returncode == 1
    assert tenant.request("GET", "mailboxes").status_code == 200 and not file.exists()
    # A DBA's view uses a table of the organization. It is not dropped, so the removal fails.
    cluster.sql("CREATE VIEW public.boxes AS SELECT name FROM org_departed.mailbox")
    refused = remove("--export", str(file))
    assert refused.returncode == 1 and "boxes" in refused.stderr
    assert tenant.request("GET", "mailboxes").status_code == 403 and "removal-unfinished" in tenant.findings()
    cluster.sql("DROP VIEW public.boxes")
    # A key of another organization is still protected by its trigger.
    with pytest.raises(psycopg.Error, match="cannot be deleted"):
        cluster.sql("DELETE FROM config.organization_key USING config.organization AS o WHERE o.name = 'contoso' AND organization_key.organization_id = o.organization_id")
    report = json.loads(cluster.run("org", "remove", "departed", "--export", str(file), "--force", "--json", stdin="departed\n").stdout)
    assert report["id"] == tenant.id and [k["version"] for k in report["keys"]] == [1, 2] and report["events"] > 5 and len(report["head"]) == 64
    assert any("Backups" in line for line in report["remains"])
    assert traces(cluster, tenant.id, "departed", tenant.client["clientId"]) == []
    assert tenant.request("GET", "mailboxes").status_code in (401, 404) and tenant.sign_in().status_code == 404
    assert cluster.run("org", "remove", "departed", "--without-export", stdin="departed\n", check=False).returncode == 1
    assert [f for f in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"] if "departed" in f["subject"]] == []
    # The export and the key's text restore the organization.
    cluster.run("org", "import", str(file), "--key", stdin=key)
    assert "1 cells" in cluster.run("verify", "--org", "departed").stdout


@pytest.mark.parametrize("step, when", [
    ("removal_begun_on = coalesce", "kill after"), ("COMMIT", "kill before"), ("COMMIT", "kill after"), ("LOCK TABLE", "kill before"),
    ("DROP SCHEMA", "kill after"), ("DELETE FROM config.organization ", "kill after"), ("VACUUM", "kill before")])
def test_a_removal_that_is_killed_is_finished_by_the_next(cluster, step, when):
    tenant = Tenant(cluster, None, "doomed")
    file = cluster.home / "doomed.fieldseal"
    started = []
    cluster.proxy.reset(lambda _, sql: when if step in sql else None, process=lambda: started[0])
    started.append(cluster.popen("org", "remove", "doomed", "--export", str(file), "--force", settings="proxied"))
    started[0].communicate("doomed\n", timeout=PATIENCE)
    assert started[0].returncode == -signal.SIGKILL and cluster.proxy.struck, "the step was not reached"
    cluster.proxy.reset()
    row = tenant.row()
    if row:
        # Either the removal has not begun, or the doctor reports that it has begun.
        assert (row["status"] == "being removed") == ("removal-unfinished" in tenant.findings())
        cluster.run("org", "remove", "doomed", "--export", str(file), "--force", stdin="doomed\n")
    assert tenant.row() is None and traces(cluster, tenant.id, "doomed") == []
    assert file.exists() and cluster.run("org", "inspect", str(file), settings=None).returncode == 0


def test_a_removal_is_taken_back(cluster, server):
    tenant = Tenant(cluster, server, "reprieved")
    with psycopg.connect(cluster.superuser) as reader:
        reader.execute("SELECT count(*) FROM org_reprieved.mailbox")
        started = []
        cluster.proxy.reset(lambda _, sql: "kill before" if "DROP SCHEMA" in sql else None, process=lambda: started[0])
        started.append(cluster.popen("org", "remove", "reprieved", "--without-export", settings="proxied"))
        started[0].communicate("reprieved\n", timeout=PATIENCE)
    cluster.proxy.reset()
    assert tenant.request("GET", "mailboxes").status_code == 403
    cluster.run("org", "resume", "reprieved")
    assert tenant.request("GET", "mailboxes").status_code == 200 and tenant.findings() == {}


def test_retention_is_by_setting(cluster, tmp_path):
    cluster.run("org", "create", "aging")
    cluster.sql(
        "INSERT INTO org_aging.email (activityid, subject, statecode, statuscode, modifiedon) SELECT gen_random_uuid(), status || ' ' || age, state, status, "
        "now() - age * interval '1 day' FROM (VALUES (0, 1), (1, 2), (1, 3), (1, 4), (2, 5), (1, 6), (1, 7), (0, 8)) AS s (state, status), unnest(ARRAY[1, 40]) AS age, generate_series(1, 300)")
    folder = tmp_path / "archive"
    folder.mkdir()

    def run(name, **settings):
        (cluster.home / f"{name}.yaml").write_text((cluster.home / "direct.yaml").read_text() + f"retention: {json.dumps(settings)}\n")
        return cluster.run("retention", "--json", settings=name, check=False)

    def emails():
        return dict(cluster.sql("SELECT subject, count(*) FROM org_aging.email GROUP BY 1"))

    kept = emails()
    assert sum(kept.values()) == 4_800
    # Without limits in the settings, nothing is removed.
    said = [json.loads(line) for line in run("keeping").stdout.splitlines()]
    assert next(s for s in said if s["organization"] == "aging") == {"organization": "aging", "events": 0, "auditEntries": 0, "emails": 0} and emails() == kept
    refused = run("nowhere", eventDays=1)
    assert refused.returncode == 1 and "retention.folder" in refused.stderr
    said = [json.loads(line) for line in run("mailing", emailDays=30).stdout.splitlines()]
    assert next(s for s in said if s["organization"] == "aging")["emails"] == 1_200
    assert emails() == {subject: count for subject, count in kept.items() if subject not in ("2 40", "3 40", "4 40", "5 40")}
    assert cluster.sql("SELECT details LIKE '1200 that ended before %%' FROM org_aging.security_event WHERE kind = 'e-mails removed'") == [(True,)]
    # Old entries of the audit are moved to a file. A damaged organization does not prevent that in others.
    cluster.sql("INSERT INTO org_aging.queue (queueid, name) SELECT gen_random_uuid(), 'old' FROM generate_series(1, 5)")
    cluster.sql("SET session_replication_role = replica; UPDATE org_aging.audit SET createdon = createdon - interval '50 days'")
    cluster.run("org", "create", "aaa-broken")
    cluster.sql("DROP SCHEMA org_aaa_broken CASCADE")
    result = run("auditing", auditDays=30, eventDays=30, folder=str(folder))
    said = {s["organization"]: s for s in map(json.loads, result.stdout.splitlines())}
    assert result.returncode == 1 and "error" in said["aaa-broken"] and said["aging"]["auditEntries"] > 0 and said["aging"]["events"] == 0
    assert [p.name.startswith("aging-audit-") for p in folder.iterdir()].count(True) == 1
    cluster.run("org", "remove", "aaa-broken", "--without-export", stdin="aaa-broken\n")
    cluster.run("events", "verify", "--org", "aging")


def test_retention_archives_events_that_are_old(cluster, tmp_path):
    cluster.run("org", "create", "ancient")
    cluster.run("client", "add", "one", "--org", "ancient", "--role", "Basic User")
    Attestor(cluster).age_events("50 days", "ancient")
    cluster.run("events", "verify", "--org", "ancient")
    cluster.run("client", "add", "two", "--org", "ancient", "--role", "Basic User")
    events = "SELECT kind, occurred_on < now() - interval '30 days' FROM org_ancient.security_event ORDER BY security_event_id"
    before = cluster.sql(events)
    old = [kind for kind, is_old in before if is_old]
    assert len(old) >= 2 and before[-1] == ("client added", False)

    def run():
        settings = {"eventDays": 30, "folder": str(tmp_path)}
        (cluster.home / "archiving.yaml").write_text((cluster.home / "direct.yaml").read_text() + f"retention: {json.dumps(settings)}\n")
        return json.loads(cluster.run("retention", "--json", "--org", "ancient", settings="archiving").stdout)

    assert run() == {"organization": "ancient", "events": len(old), "auditEntries": 0, "emails": 0}
    # Recent events are kept, and one more event records the archiving.
    assert [kind for kind, _ in cluster.sql(events)] == [kind for kind, is_old in before if not is_old] + ["events archived"]
    [file] = tmp_path.iterdir()
    assert file.name.startswith("ancient-events-") and file.stat().st_mode & 0o777 == 0o600
    archived = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["kind"] for line in archived if "kind" in line] == old
    cluster.run("events", "verify", "--org", "ancient", "--archive", str(file))
    # The second run of the command finds nothing to move.
    assert run()["events"] == 0 and list(tmp_path.iterdir()) == [file]
    # If there is nothing to move, the command says so, even if its file exists.
    arguments = "--org", "ancient", "--before", "2020-01-01T00:00:00Z", "--to", str(file)
    again = cluster.run("events", "archive", *arguments, check=False)
    assert again.returncode != 0 and "no security events before that moment" in again.stderr
