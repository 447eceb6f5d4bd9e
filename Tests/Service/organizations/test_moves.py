"""Organizations move between the databases of a deployment: what is moved, what happens to writers, and what a crash leaves behind."""

import json
import threading

import psycopg
import pytest
import several_databases
import yaml
from service import PATIENCE
from several_databases import Caller
from waiting import until


deployment, server = several_databases.deployment, several_databases.server


def place(deployment, name):
    """The databases that list the organization."""
    listed = [json.loads(line) for line in deployment.run("org", "list", "--json").stdout.splitlines()]
    return [entry["database"] for entry in listed if name in {row["organization"] for row in entry["report"]}]


def schemas(deployment, database):
    return {name for (name,) in deployment.sql(
        database, "SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^(org|arriving|moved|moving)_'")}


def move(deployment, name, to, *more, **options):
    return deployment.run("org", "move", name, "--to", to, "--json", *more, **options)


def journals(deployment):
    """The journals of moves, which note the changes while rows are copied: [(database, schema)]."""
    return [(database, name) for database in deployment.names for name in schemas(deployment, database) if name.startswith("moving_")]


def codes(deployment):
    return {finding["code"] for finding in json.loads(deployment.run("doctor", "--json", check=False).stdout)["findings"]}


def test_everything_comes_along(deployment, server):
    """Records, cells, clients, tokens, events and keys are moved. A client's token remains valid."""
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
    assert rehearsed["pauseMilliseconds"] > 0 and rehearsed["rounds"] > 0
    assert schemas(deployment, "west") == {"org_tailspin"} and journals(deployment) == []
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
    # The organization is moved back to the database in which it was before.
    move(deployment, "contoso", "main")
    until(lambda: caller.request().status_code == 200)
    assert place(deployment, "contoso") == ["main"] and "all of them open" in deployment.run("verify", "--org", "contoso").stdout


def test_refusals_come_along_and_none_is_shortened(deployment, server):
    """A revoked token and a used assertion are refused after the move, even if SQL had written weaker rows for them in the other database."""
    token = "INSERT INTO config.exposed_token (token_hash, expires_on, is_revoked) VALUES (sha256('token'), now() + interval '{}', {})"
    assertion = "INSERT INTO config.used_assertion (assertion_hash, expires_on) VALUES (sha256('{}'), now() + interval '{}')"
    deployment.sql("main", f"{token.format('1 hour', True)}; {assertion.format('both', '1 hour')}; {assertion.format('one', '1 hour')}")
    deployment.sql("west", f"{token.format('45 seconds', False)}; {assertion.format('both', '45 seconds')}")
    move(deployment, "contoso", "west")
    later = "expires_on > now() + interval '30 minutes'"
    assert deployment.sql("west", f"SELECT is_revoked AND {later} FROM config.exposed_token WHERE token_hash = sha256('token')") == [(True,)]
    kept = f"SELECT count(*) FROM config.used_assertion WHERE {later} AND assertion_hash IN (sha256('both'), sha256('one'))"
    assert deployment.sql("west", kept) == [(2,)]
    move(deployment, "contoso", "main")


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


class Hold:
    """Stops a program before the first statement for which a condition is true, until the test releases it."""

    def __init__(self, proxy, condition):
        self.condition, self.reached, self.released = condition, threading.Event(), threading.Event()
        proxy.reset(self)

    def __call__(self, number, sql):
        if self.condition(sql) and not self.reached.is_set():
            self.reached.set()
            self.released.wait(PATIENCE)

    def wait(self, process):
        until(lambda: self.reached.is_set() or process.poll() is not None)
        assert self.reached.is_set(), process.poll()


def test_writers_go_on_while_rows_are_copied(deployment, server, struck):
    """Records that are created, changed and deleted after the copy has read their table are right in the other database."""
    caller = Caller(server, "contoso")
    assert caller.sign_in().status_code == 200

    def create(path, **values):
        response = caller.request("POST", path, json=values)
        assert response.status_code == 204, response.text
        return response.headers["OData-EntityId"].rsplit("(", 1)[1].rstrip(")")

    def mail(subject):
        return create("emails", subject=subject, email_activity_parties=[{"participationtypemask": 2, "addressused": "to@elsewhere.test"}])

    boxes = [create("mailboxes", name=f"held{number}", password="pa55-before") for number in range(4)]
    kept, deleted = mail("kept"), mail("deleted")
    (first,), (second,) = deployment.sql("main", "SELECT name FROM org_contoso.role ORDER BY name LIMIT 2")
    roles = dict(deployment.sql("main", "SELECT roleid, name FROM org_contoso.role"))

    def swap_roles(database):
        for old, new in [(first, "of nobody"), (second, first), ("of nobody", second)]:
            deployment.sql(database, "UPDATE org_contoso.role SET name = %s WHERE name = %s", [new, old])

    before = codes(deployment)
    hold = Hold(struck, lambda sql: sql.startswith("COPY") and '"usersettings"' in sql)
    process = deployment.main.popen("org", "move", "contoso", "--to", "east", "--json", settings="struck")
    try:
        hold.wait(process)
        # These writes succeed while rows are copied.
        created = create("mailboxes", name="created", password="pa55-created")
        assert caller.request("PATCH", f"mailboxes({boxes[0]})", json={"name": "changed", "password": "pa55-after"}).status_code == 204
        assert caller.request("PATCH", f"mailboxes({boxes[1]})", json={"password": None}).status_code == 204
        for path in [f"mailboxes({boxes[2]})", f"emails({deleted})"]:
            assert caller.request("DELETE", path).status_code == 204
        late = mail("late")
        assert codes(deployment) == before | {"move-under-way"}
        swap_roles("main")
        assert deployment.run("key", "change", "--org", "contoso", check=False).returncode
        values = deployment.main.opened_cells()
    finally:
        hold.released.set()
        output, errors = process.communicate("", timeout=PATIENCE)
        struck.reset()
    assert process.returncode == 0, errors
    moved = json.loads(output)
    assert moved["rounds"] >= 1 and moved["pauseMilliseconds"] > 0
    names = {str(id): name for id, name in deployment.sql("east", "SELECT mailboxid, name FROM org_contoso.mailbox")}
    assert names[created] == "created" and names[boxes[0]] == "changed" and names[boxes[3]] == "held3" and boxes[2] not in names
    assert {str(id) for (id,) in deployment.sql("east", "SELECT activityid FROM org_contoso.email")} >= {kept, late}
    parties = {str(id) for (id,) in deployment.sql("east", "SELECT activityid FROM org_contoso.activityparty")}
    assert {kept, late} <= parties and deleted not in parties
    assert dict(deployment.sql("east", "SELECT roleid, name FROM org_contoso.role")) == {
        id: {first: second, second: first}.get(name, name) for id, name in roles.items()}
    assert "all of them open" in deployment.run("verify", "--org", "contoso").stdout
    assert json.loads(deployment.run("events", "verify", "--org", "contoso", "--json").stdout)["problems"] == []
    swap_roles("east")
    assert journals(deployment) == [] and codes(deployment) == before
    move(deployment, "contoso", "main")
    assert deployment.main.opened_cells() == values and values[f"mailbox({boxes[0]}).password"] == "pa55-after"


def test_a_journal_that_was_tampered_with_ends_the_move(deployment, struck):
    """SQL disables a trigger of the journal, so changes may be missing in it. The move ends without moving anything."""
    hold = Hold(struck, lambda sql: sql.startswith("COPY") and '"usersettings"' in sql)
    process = deployment.main.popen("org", "move", "contoso", "--to", "east", settings="struck")
    try:
        hold.wait(process)
        deployment.sql("main", "ALTER TABLE org_contoso.team DISABLE TRIGGER notes_move")
    finally:
        hold.released.set()
        _, errors = process.communicate("", timeout=PATIENCE)
        struck.reset()
    assert process.returncode and "notes_move of team" in errors
    assert place(deployment, "contoso") == ["main"] and journals(deployment) == []


def test_writers_that_are_too_fast_end_the_move(deployment, struck):
    """Between two rounds, more is written than one round may copy. With a longer pause, the organization can be moved."""
    refused = move(deployment, "struck", "east", "--longest-pause", "0", check=False)
    assert refused.returncode and "--longest-pause" in refused.stderr

    refusals = set()

    def write(number, sql):
        if sql.startswith("BEGIN ISOLATION LEVEL REPEATABLE READ"):
            try:
                deployment.sql("main", "TRUNCATE org_struck.tracelog")
            except psycopg.Error as error:
                refusals.add("being moved" in str(error))
            for _ in range(30):
                deployment.sql("main", "UPDATE org_struck.role SET name = name")

    struck.reset(write)
    try:
        command = ["org", "move", "struck", "--to", "east", "--longest-pause"]
        refused = deployment.main.run(*command, "0.0001", check=False, settings="struck")
        assert refused.returncode and "faster than they can be copied" in refused.stderr, refused.stderr
        assert place(deployment, "struck") == ["main"] and journals(deployment) == []
        deployment.main.run(*command, "3600", settings="struck")
        assert refusals == {True}
    finally:
        struck.reset()
    move(deployment, "struck", "main")


def test_a_journal_that_was_left_notes_nothing(deployment, struck):
    """A killed move leaves its triggers, which note nothing. The doctor reports the journal until a rehearsal removes it."""
    started = []

    def strike(number, sql):
        return "kill before" if sql.startswith("COPY") else None

    struck.reset(strike, process=lambda: started[0])
    started.append(deployment.main.popen("org", "move", "struck", "--to", "east", settings="struck"))
    started[0].communicate("", timeout=PATIENCE)
    struck.reset()
    until(lambda: deployment.sql(
        "main", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fieldseal org move'")[0][0] == 0)
    ((database, schema),) = journals(deployment)
    deployment.sql("main", "UPDATE org_struck.businessunit SET name = name")
    assert database == "main" and deployment.sql("main", f"SELECT count(*) FROM {schema}.businessunit") == [(0,)]
    found = codes(deployment)
    assert "move-journal-left" in found and not found & {"foreign-object", "object-changed", "object-missing"}
    move(deployment, "struck", "east", "--rehearse")
    assert journals(deployment) == [] and "move-journal-left" not in codes(deployment)


def test_no_acknowledged_write_is_lost(deployment, server):
    """The organization is moved there and back while clients write and read. Each acknowledged write exists."""
    deployment.main.fill(20_000)
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
            elif answer.status_code != 503 or not answer.headers.get("Retry-After"):
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
    there = [name for (name,) in deployment.sql("main", "SELECT name FROM org_contoso.mailbox WHERE name ~ '^w[0-9]'")]
    assert set(written) <= set(there) and len(there) == len(set(there))
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
    # A session that still uses the old schema finds no table there, even if it had a prepared plan.
    with pytest.raises(psycopg.errors.Error):
        deployment.sql("main", "UPDATE org_contoso.mailbox SET name = 'lost'")
    move(deployment, "contoso", "main")


#: Interruptions: (text in the transaction, beginning of the statement, which of these statements, action)
STRIKES = [
    ("", "CREATE SCHEMA", 1, "kill before"),
    *[("", 'CREATE SCHEMA "moving_', number, "kill after") for number in [1, 2]],
    ("CREATE TRIGGER notes_move", "COMMIT", 1, "kill after"),
    *[("LOCK TABLE", "LOCK TABLE", number, "kill after") for number in [1, 2]],
    *[("ISOLATION LEVEL REPEATABLE READ", "COMMIT", number, how) for number, how in [(1, "kill after"), (2, "kill before"), (2, "cut after")]],
    ("", "COPY", 3, "kill after"),
    ("", "COPY", 8, "terminate before"),
    *[("INSERT INTO config.organization_move", "COMMIT", number, how)
      for number in [1, 2] for how in ["kill before", "kill after", "cut before", "cut after", "lose answer"]],
    *[(text, "COMMIT", 1, how)
      for text in ["DELETE FROM config.organization_move", 'DROP SCHEMA IF EXISTS "moved_'] for how in ["kill before", "kill after", "cut after"]],
]


@pytest.fixture
def struck(deployment, passed):
    """The proxy of `passed`, after the organization `struck` was moved to `main`."""
    if place(deployment, "struck") != ["main"]:
        move(deployment, "struck", "main")
    return passed


@pytest.fixture(scope="module")
def passed(deployment):
    """Settings with which commands reach the databases `main` and `east` through a proxy, and the organization `struck`. Yields the proxy."""
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
def test_a_crash_leaves_one_place_in_force(deployment, passed, within, text, occurrence, action):
    """The program is killed or loses its connection at a statement. Afterwards, the same command completes the move."""
    (source,) = place(deployment, "struck")
    to = "east" if source == "main" else "main"
    seen, started = [], []

    def strike(number, sql):
        if sql.startswith(text):
            seen.append(sql)
        return action if sql.startswith(text) and len(seen) == occurrence else None

    passed.reset(strike, process=lambda: started[0], within=within)
    started.append(deployment.main.popen("org", "move", "struck", "--to", to, settings="struck"))
    output, errors = started[0].communicate("", timeout=PATIENCE)
    assert passed.struck, (output, errors)
    passed.reset()
    # PostgreSQL ends the program's sessions.
    until(lambda: deployment.sql(
        "main", "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fieldseal org move'")[0][0] == 0)
    marks = {name: [state for (state,) in deployment.sql(name, "SELECT state FROM config.organization_move")] for name in ["main", "east"]}
    found = place(deployment, "struck")
    # For a short time the organization is in neither database: the original was given up, and the complete copy is not in use yet. The rows of the
    # move say where it is.
    assert len(found) == 1 or marks == {source: ["moved"], to: ["arriving"]}
    said = codes(deployment)
    assert ("move-not-ended" in said) == any(marks.values())
    # Only a killed program leaves a journal behind. The doctor reports it.
    assert ("move-journal-left" in said) == bool(journals(deployment))
    if place(deployment, "struck") != [to] or any(marks.values()):
        move(deployment, "struck", to)
    assert place(deployment, "struck") == [to] and not codes(deployment) & {"move-not-ended", "move-journal-left"}
    assert journals(deployment) == []
    assert [name for name in ["main", "east"] if {s for s in schemas(deployment, name) if s.endswith("_struck")}] == [to]
    assert "all of them open" in deployment.run("verify", "--org", "struck").stdout
