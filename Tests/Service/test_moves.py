"""Organizations that are moved between the databases of a deployment: what stays, what writers notice, what a crash leaves."""

import json
import threading

import psycopg
import pytest
import yaml
from server import Server
from service import PATIENCE
from test_databases import Caller, Deployment, until


@pytest.fixture(scope="module")
def deployment():
    made = Deployment()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def server(deployment):
    running = Server(deployment.main, settings="several")
    yield running
    running.stop()


def place(deployment, name):
    """The databases in which an organization is in force."""
    listed = [json.loads(line) for line in deployment.run("org", "list", "--json").stdout.splitlines()]
    return [entry["database"] for entry in listed if name in {row["organization"] for row in entry["report"]}]


def schemas(deployment, database):
    return {name for (name,) in deployment.sql(
        database, "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^(org|arriving|moved)_'")}


def move(deployment, name, to, *more, **options):
    return deployment.run("org", "move", name, "--to", to, "--json", *more, **options)


def codes(deployment):
    return {finding["code"] for finding in json.loads(deployment.run("doctor", "--json", check=False).stdout)["findings"]}


def test_everything_comes_along(deployment, server):
    """Records, cells, clients, tokens, events and keys: a client goes on with the token that it has."""
    caller = Caller(server, "contoso")
    assert caller.sign_in().status_code == 200
    for number in range(20):
        assert caller.request("POST", "mailboxes", json={"name": f"m{number}", "password": f"pa55-{number}"}).status_code == 204
    cells = deployment.main.opened_cells()
    assert deployment.run("key", "change", "--org", "contoso").returncode == 0
    events = json.loads(deployment.run("events", "verify", "--org", "contoso", "--json").stdout)["verified"]
    before = codes(deployment)
    rehearsed = json.loads(move(deployment, "contoso", "west", "--rehearse").stdout)
    assert rehearsed["rows"] > 100 and place(deployment, "contoso") == ["main"]
    assert schemas(deployment, "west") == {"org_tailspin"}
    moved = json.loads(move(deployment, "contoso", "west").stdout)
    assert (moved["from"], moved["to"]) == ("main", "west") and moved["pauseMilliseconds"] > 0
    assert place(deployment, "contoso") == ["west"]
    assert "org_contoso" in schemas(deployment, "west") and not {n for n in schemas(deployment, "main") if "contoso" in n}
    assert deployment.sql("main", "SELECT count(*) FROM config.organization_key")[0][0] == 0
    until(lambda: caller.request().status_code == 200)
    assert {f"m{number}" for number in range(20)} <= {row["name"] for row in caller.request().json()["value"]}
    assert caller.request("POST", "mailboxes", json={"name": "after", "password": "pa55-after"}).status_code == 204
    assert caller.sign_in().status_code == 200
    assert "all of them open" in deployment.run("verify", "--org", "contoso").stdout
    verified = json.loads(deployment.run("events", "verify", "--org", "contoso", "--json").stdout)
    assert verified["problems"] == [] and verified["verified"] > events
    assert len(cells) == 20
    assert codes(deployment) <= before
    assert deployment.run("key", "change", "--org", "contoso").returncode == 0
    # And back, to where rows of it have been before.
    move(deployment, "contoso", "main")
    until(lambda: caller.request().status_code == 200)
    assert place(deployment, "contoso") == ["main"] and "all of them open" in deployment.run("verify", "--org", "contoso").stdout


def test_what_can_not_be_moved_is_said(deployment):
    for arguments, words in [(("contoso", "main"), "in the database main already"), (("contoso", "north"), "no database north"),
                             (("nobody", "east"), "no organization")]:
        refused = move(deployment, *arguments, check=False)
        assert refused.returncode and words in refused.stderr, refused.stderr
    alone = deployment.main.run("org", "move", "contoso", "--to", "east", check=False)
    assert alone.returncode and "one database" in alone.stderr
    deployment.sql("main", "CREATE TABLE org_contoso.own (id int)")
    try:
        refused = move(deployment, "contoso", "east", check=False)
        assert refused.returncode and "own" in refused.stderr and place(deployment, "contoso") == ["main"]
        assert "org_contoso" not in schemas(deployment, "east")
    finally:
        deployment.sql("main", "DROP TABLE org_contoso.own")


def test_no_acknowledged_write_is_lost(deployment, server):
    """Writers and readers go on while the organization is moved there and back; each write that was acknowledged is there."""
    caller = Caller(server, "contoso")
    assert caller.sign_in().status_code == 200
    written, strange, stop = [], [], threading.Event()

    def write(worker):
        own = Caller.__new__(Caller)
        own.__dict__.update(caller.__dict__)
        number = 0
        while not stop.is_set():
            name = f"w{worker}-{number}"
            answer = own.request("POST", "mailboxes", json={"name": name, "password": "pa55"})
            if answer.status_code == 204:
                written.append(name)
            elif answer.status_code != 503:
                strange.append((answer.status_code, answer.text))
            number += 1

    threads = [threading.Thread(target=write, args=[worker]) for worker in range(3)]
    for thread in threads:
        thread.start()
    try:
        for to in ["east", "main"]:
            count = len(written)
            until(lambda count=count: len(written) > count + 10)
            move(deployment, "contoso", to)
            assert place(deployment, "contoso") == [to]
        count = len(written)
        until(lambda: len(written) > count + 10)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert strange == []
    there = {name for (name,) in deployment.sql("main", "SELECT name FROM org_contoso.mailbox")}
    assert set(written) <= there
    assert "all of them open" in deployment.run("verify", "--org", "contoso").stdout


def test_an_idle_writer_delays_the_move_and_loses_nothing(deployment):
    with psycopg.connect(f"{deployment.names['main']} user=postgres") as writer:
        writer.execute("UPDATE org_contoso.mailbox SET name = 'renamed' WHERE mailboxid = (SELECT mailboxid FROM org_contoso.mailbox LIMIT 1)")
        process = deployment.main.popen("org", "move", "contoso", "--to", "east", "--json", settings="several")
        until(lambda: deployment.sql(
            "main", "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'")[0][0] > 0)
        writer.commit()
    assert process.communicate(timeout=PATIENCE) and process.returncode == 0
    assert deployment.sql("east", "SELECT count(*) FROM org_contoso.mailbox WHERE name = 'renamed'")[0][0] == 1
    # Who names the old schema finds nothing there, also one that had it in a plan.
    with pytest.raises(psycopg.errors.Error):
        deployment.sql("main", "UPDATE org_contoso.mailbox SET name = 'lost'")
    move(deployment, "contoso", "main")


#: Where the program is struck: at the nth statement with a beginning, in transactions that have a text; and how.
STRIKES = [
    ("", "CREATE SCHEMA", 1, "kill before"),
    ("LOCK TABLE", "LOCK TABLE", 1, "kill after"),
    ("", "COPY", 3, "kill after"),
    ("", "COPY", 8, "terminate before"),
    *[("INSERT INTO config.organization_move", "COMMIT", number, how)
      for number in [1, 2] for how in ["kill before", "kill after", "cut before", "cut after", "lose answer"]],
    *[(text, "COMMIT", 1, how)
      for text in ["DELETE FROM config.organization_move", "DROP SCHEMA"] for how in ["kill before", "kill after", "cut after"]],
]


@pytest.fixture(scope="module")
def struck(deployment):
    """Settings whose commands pass the proxy before the databases main and east; and an organization to move."""
    home, proxy = deployment.main.home, deployment.main.proxy
    settings = yaml.safe_load((home / "several.yaml").read_text())
    for name, database in [("main", "fieldseal"), ("east", "east")]:
        settings["migrationDatabases"][name] = (
            f"host=127.0.0.1 port={proxy.port} user=postgres dbname={database} sslmode=disable gssencmode=disable")
    del settings["databases"]["west"], settings["migrationDatabases"]["west"]
    (home / "struck.yaml").write_text(json.dumps(settings))
    deployment.run("org", "create", "struck", "--database", "main")
    return proxy


@pytest.mark.parametrize("within, text, occurrence, action", STRIKES)
def test_a_crash_leaves_one_place_in_force(deployment, struck, within, text, occurrence, action):
    """The program is killed, or its connection broken, at a statement. Moving again ends or undoes what was begun."""
    (source,) = place(deployment, "struck")
    to = "east" if source == "main" else "main"
    seen, started = [], []

    def strike(number, sql):
        if sql.startswith(text):
            seen.append(sql)
        return action if sql.startswith(text) and len(seen) == occurrence else None

    struck.reset(strike, process=lambda: started[0], within=within)
    started.append(deployment.main.popen("org", "move", "struck", "--to", to, settings="struck"))
    output, errors = started[0].communicate("", timeout=PATIENCE)
    assert struck.struck, (output, errors)
    struck.reset()
    # PostgreSQL ends what the program had open.
    until(lambda: deployment.sql(
        "main", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fieldseal org move'")[0][0] == 0)
    marks = {name: [state for (state,) in deployment.sql(name, "SELECT state FROM config.organization_move")] for name in ["main", "east"]}
    found = place(deployment, "struck")
    # Nowhere only in the moment in which the original has left: then the copy is whole, and the mark says where it is.
    assert len(found) == 1 or marks == {source: ["moved"], to: ["arriving"]}
    assert ("move-not-ended" in codes(deployment)) == any(marks.values())
    if place(deployment, "struck") != [to] or any(marks.values()):
        move(deployment, "struck", to)
    assert place(deployment, "struck") == [to] and "move-not-ended" not in codes(deployment)
    assert [name for name in ["main", "east"] if {s for s in schemas(deployment, name) if s.endswith("_struck")}] == [to]
    assert "all of them open" in deployment.run("verify", "--org", "struck").stdout
