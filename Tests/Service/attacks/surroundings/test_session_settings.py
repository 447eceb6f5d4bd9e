"""Settings of the role, the database or the connection string that do not affect the service, and two settings with which it refuses to work."""

import json
import re
import uuid

import psycopg
import pytest
from server import Server
from service import PATIENCE
from waiting import until

SETTINGS = [
    ("DateStyle", "'SQL, DMY'"), ("DateStyle", "'German'"), ("DateStyle", "'Postgres, MDY'"), ("IntervalStyle", "'sql_standard'"),
    ("TimeZone", "'Asia/Kathmandu'"), ("search_path", "''"), ("search_path", "org_contoso, config"),
    ("bytea_output", "'escape'"), ("standard_conforming_strings", "off"), ("client_encoding", "'LATIN1'"),
    ("default_transaction_isolation", "'serializable'"), ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_deferrable", "on"), ("lock_timeout", "'1ms'"), ("statement_timeout", "'1ms'"),
    ("idle_in_transaction_session_timeout", "'1ms'"), ("idle_session_timeout", "'200ms'"), ("jit", "on"), ("extra_float_digits", "-15"), ("row_security", "off"),
    ("transform_null_equals", "on"), ("quote_all_identifiers", "on"), ("array_nulls", "off"),
]


@pytest.fixture(scope="module")
def server(cluster):
    server = Server(cluster)
    for n in range(3):
        assert server.request("POST", "mailboxes", {"name": f"page {n}"}).status_code == 204
    try:
        yield server
    finally:
        server.stop()


def administer(cluster, statement):
    """Runs a statement as a superuser, even if transactions are read-only by default."""
    with psycopg.connect(cluster.superuser, autocommit=True, options="-c default_transaction_read_only=off") as admin:
        admin.execute(statement)


def renew(cluster):
    """Ends the service's database sessions. New sessions get the role's present settings."""
    administer(cluster, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")


def with_setting(cluster, where, name, value):
    cluster.sql(f"ALTER {where} SET {name} = {value}")
    renew(cluster)


def use(server):
    """Creates, reads, updates and deletes records, opens pages in two languages, and reads the key."""
    id = str(uuid.uuid4())
    for attempt in range(3):
        # The first requests may fail, because they use sessions that `renew` ended.
        response = server.request("POST", "mailboxes", {"mailboxid": id, "name": "used", "password": "s3cret"})
        if response.status_code not in (500, 503):
            break
    assert response.status_code in (204, 412), response.text
    read = server.request("GET", f"mailboxes({id})?$select=createdon,ispasswordset").json()
    assert read["ispasswordset"] is True and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", read["createdon"]), read
    seen, url = [], "mailboxes?$select=name&$orderby=createdon,name"
    while url:
        page = server.request("GET", url, headers={"Prefer": "odata.maxpagesize=2"})
        assert page.status_code == 200, page.text
        seen += [row["mailboxid"] for row in page.json()["value"]]
        url = page.json().get("@odata.nextLink", "").split("/v9.2/")[-1]
    assert len(seen) == len(set(seen)) >= 4
    assert server.request("PATCH", f"mailboxes({id})", {"password": "another"}).status_code == 204
    found = server.request("GET", f"mailboxes?$filter=createdon eq {read['createdon']} and mailboxid eq {id}").json()
    assert [row["mailboxid"] for row in found["value"]] == [id], found
    assert server.request("DELETE", f"mailboxes({id})").status_code == 204
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200


@pytest.mark.parametrize("name, value", SETTINGS, ids=[f"{n} {v}" for n, v in SETTINGS])
def test_a_setting_of_the_role_changes_nothing(cluster, server, name, value):
    with_setting(cluster, "ROLE fieldseal_service", name, value)
    try:
        use(server)
    finally:
        cluster.sql(f"ALTER ROLE fieldseal_service RESET {name}")


def test_settings_of_the_database_and_of_the_connection_string_change_nothing_either(cluster, server):
    for name, value in SETTINGS[:7]:
        cluster.sql(f"ALTER DATABASE fieldseal SET {name} = {value}")
    try:
        renew(cluster)
        use(server)
        settings = json.dumps(f"host={cluster.home} user=fieldseal_service dbname=fieldseal options='-c DateStyle=German -c TimeZone=Asia/Tokyo'")
        path = cluster.home / "options.yaml"
        path.write_text(re.sub(r"^database: .*$", lambda _: f"database: {settings}", (cluster.home / "direct.yaml").read_text(), flags=re.M))
        events = cluster.run("events", "list", "--org", "contoso", "--json", settings="options", check=False)
        status = json.loads(cluster.run("key", "status", "--json", settings="options").stdout)
        assert events.returncode in (0, 64) and status["setOn"].endswith("Z")
        cluster.run("key", "change", settings="options")
        assert cluster.run("verify", settings="options").returncode == 0
    finally:
        for name, _ in SETTINGS[:7]:
            cluster.sql(f"ALTER DATABASE fieldseal RESET {name}")


def test_a_role_without_triggers_is_refused(cluster, server):
    """With this value of session_replication_role, the database's triggers do not run, so the service refuses to work."""
    with_setting(cluster, "ROLE fieldseal_service", "session_replication_role", "replica")
    try:
        response = server.request("POST", "mailboxes", {"name": "unguarded"})
        assert response.status_code in (500, 503), response.text
        assert cluster.sql("SELECT count(*) FROM mailbox WHERE name = 'unguarded'") == [(0,)]
        result = cluster.run("key", "status", check=False)
        assert result.returncode == 1 and "session_replication_role" in result.stderr and "RESET" in result.stderr
    finally:
        cluster.sql("ALTER ROLE fieldseal_service RESET session_replication_role")
    use(server)


def test_a_read_only_role_is_not_ready_and_is_well_again_by_itself(cluster, server):
    """A managed PostgreSQL makes the role read-only if its disk is full. The service works again when the setting is removed."""
    token = server.token
    for how in ("ROLE fieldseal_service", "DATABASE fieldseal"):
        with_setting(cluster, how, "default_transaction_read_only", "on")
        try:
            # The server checks its readiness once a second.
            until(lambda: server_get(server, "/readyz").status_code == 503)
            assert "read-only" in server_get(server, "/readyz").text
            response = server.request("POST", "mailboxes", {"name": "refused"})
            assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0, response.text
            assert "read-only" in response.text
            assert server.request("GET", "mailboxes?$top=1").status_code == 200
            sign_in = server.sign_in()
            assert sign_in.status_code in (200, 503), sign_in.text
        finally:
            administer(cluster, f"ALTER {how} RESET default_transaction_read_only")
        until(lambda: server_get(server, "/readyz").status_code == 200)
        until(lambda: server.request("POST", "mailboxes", {"name": "taken"}).status_code == 204)
        assert server.sign_in().status_code == 200 and server.token == token


def test_a_server_that_is_made_read_only_under_open_sessions(cluster, server):
    """PostgreSQL reloads its configuration: open sessions become read-only, and later writable again."""
    use(server)
    with psycopg.connect(cluster.superuser, autocommit=True, options="-c default_transaction_read_only=off") as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        try:
            until(lambda: server.request("POST", "mailboxes", {"name": "x"}).status_code == 503)
            until(lambda: server_get(server, "/readyz").status_code == 503)
            assert server.request("GET", "mailboxes?$top=1").status_code == 200
        finally:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")
    until(lambda: server.request("POST", "mailboxes", {"name": "x"}).status_code == 204)
    until(lambda: server_get(server, "/readyz").status_code == 200)


def server_get(server, path):
    import requests

    return requests.get(server.base + path, verify=server.cluster.home / "server.pem", timeout=PATIENCE)


@pytest.mark.parametrize("value, used", [("off", "on"), ("remote_write", "remote_write"), ("local", "local")])
def test_a_write_that_is_acknowledged_is_on_disk(cluster, server, value, used):
    """The service never acknowledges a write that is only in PostgreSQL's memory. Whether a standby must have it is a setting of the role."""
    cluster.sql("CREATE TABLE public.seen (value text)")
    cluster.sql("CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
                "$$ BEGIN INSERT INTO public.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$")
    cluster.sql("CREATE TRIGGER sees AFTER INSERT ON org_contoso.queue FOR EACH ROW EXECUTE FUNCTION public.see()")
    try:
        with_setting(cluster, "ROLE fieldseal_service", "synchronous_commit", value)
        assert server.request("POST", "queues", {"name": "durable"}).status_code == 204
        assert cluster.sql("SELECT value FROM public.seen") == [(used,)]
    finally:
        cluster.sql("DROP TRIGGER sees ON org_contoso.queue")
        cluster.sql("DROP FUNCTION public.see(); DROP TABLE public.seen")
        cluster.sql("ALTER ROLE fieldseal_service RESET synchronous_commit")
        renew(cluster)
