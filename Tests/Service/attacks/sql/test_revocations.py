"""SQL hides or replaces a row while the service revokes what the row grants, and restores the row afterwards."""

import contextlib
import json
import re
import uuid

import psycopg
import pytest
from html_forms import subject
from one_time import one_time_password
from place import PASSWORD, name
from test_rotation_under_attack import configure
from test_roles import ROLES, TEAM_ROLES, TEAMS, Client, admin, link, made, role_id

ORG = ("--org", "contoso")


@pytest.fixture(scope="module")
def place(place):
    place.run("key", "show")
    return place


def connect(place, superuser=False):
    return psycopg.connect(f"host={place.home} user={'postgres' if superuser else 'fieldseal_service'} dbname=fieldseal", autocommit=True)


def columns(sql, table):
    return [n for n, in sql.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = '' AND NOT attisdropped", [table])]


def insert(sql, table, row):
    sql.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values()))


def read(sql, table, condition, parameters):
    return [dict(zip(names, row)) for names in [columns(sql, table)] for row in sql.execute(f"SELECT {', '.join(names)} FROM {table} WHERE {condition}", parameters)]


@contextlib.contextmanager
def aside(place, *rows, **decoy):
    """Deletes rows for a time: the first one, and the rows that refer to it. With `decoy`, a copy of the first row with these other values takes its place."""
    with connect(place) as sql:
        kept = [(table, read(sql, table, condition, parameters)) for table, condition, parameters in rows]
        for table, condition, parameters in reversed(rows):
            sql.execute(f"DELETE FROM {table} WHERE {condition}", parameters)
        table, [first, *_] = kept[0]
        key = next(iter(first))
        if decoy:
            insert(sql, table, first | decoy)
        yield decoy.get(key)
        if decoy:
            sql.execute(f"DELETE FROM {table} WHERE {key} = %s", [decoy[key]])
        for table, found in kept:
            for row in found:
                insert(sql, table, row)


def person(place, role="System Administrator"):
    place.add_user(made := name("person"), role)
    [(id,)] = place.sql("SELECT user_id FROM config.console_user WHERE name = %s", [made])
    return made, id


def sessions(id):
    return ("config.console_session", "user_id = %s", [id])


# Keys


def test_a_key_that_was_purged_is_not_shown_though_another_row_was_purged_in_its_place(own_place):
    place = own_place
    first = place.run("key", "show").stdout
    for _ in range(2):
        place.run("key", "change")
    second = place.run("key", "show", "--version", "2").stdout
    rewrap = "SELECT config.rewrap_organization_key(%s, %s, %s, %s, %s, %s)"
    for version, has_decoy in ((1, True), (2, False)):
        with connect(place) as sql:
            [row] = read(sql, "config.organization_key", "key_version = %s", [version])
            sql.execute("UPDATE config.organization_key SET wrapped_text = NULL, wrapped_data = NULL, purged_on = now() WHERE key_version = %s", [version])
            if has_decoy:
                insert(sql, "config.organization_key", row | {"fingerprint": "0123456789abcdef", "rotation_id": uuid.uuid4()})
            place.run("key", "purge", str(version), "--yes")
            sql.execute(rewrap, [row[n] for n in ("organization_id", "key_version", "fingerprint", "wrapped_text", "wrapped_data", "kek_id")])
        shown = place.run("key", "show", "--version", str(version), "--fingerprint", row["fingerprint"], check=False)
        assert shown.returncode == 1 and "is not shown" in shown.stderr, shown
        assert first.strip() not in shown.stdout and second.strip() not in shown.stdout
        assert f"version {version}" in place.doctor()["key-row-changed"]
    # The control: a key that was not purged is shown. A purged key can't be purged again.
    place.run("key", "change")
    assert place.run("key", "show", "--version", "3").returncode == 0
    place.run("key", "purge", "3", "--yes")
    assert place.run("key", "purge", "3", "--yes", check=False).returncode == 1
    assert place.run("verify").returncode == 0 and "attested-rows-missing" not in place.doctor()


# Names


@pytest.mark.parametrize("way", ["disable", "remove"])
def test_a_name_ends_no_other_person_in_place_of_the_one_that_sql_put_aside(place, way):
    who, id = person(place)
    _, other = person(place)
    [(user,)] = place.sql("SELECT systemuser_id FROM config.console_user WHERE user_id = %s", [other])
    visitor = place.visit(who)
    with aside(place, ("config.console_user", "user_id = %s", [id]), sessions(id), user_id=uuid.uuid4(), systemuser_id=user) as decoy:
        refused = place.run("user", way, who, *ORG, check=False)
        assert refused.returncode == 1 and str(decoy) in refused.stderr, refused
        # An administrator can remove the decoy by its id. The person whose systemuser the decoy names keeps everything.
        place.run("user", "remove", str(decoy), *ORG)
        assert place.sql("SELECT isdisabled FROM org_contoso.systemuser WHERE systemuserid = %s", [user]) == [(False,)]
        # An administrator can disable the person by id while SQL hides their row.
        place.run("user", "disable", str(id), *ORG)
    assert visitor.page().status_code == 303 and not place.visit(who).is_in
    assert who in place.doctor()["revocation-undone"]
    place.run("user", "remove", str(id), *ORG)
    assert who not in str(place.doctor())
    # The control: without SQL, the command finds the person by name.
    other, id = person(place)
    visitor = place.visit(other)
    place.run("user", way, other.upper(), *ORG)
    assert visitor.page().status_code == 303 and not place.visit(other).is_in


def test_a_name_on_a_row_that_sql_changed_ends_nothing(place):
    """SQL exchanges the names of two people. A command with one of the names must not end the other person's access."""
    (one, first), (two, second) = person(place), person(place)
    with connect(place) as sql:
        for id, other in ((first, "aside"), (second, one), (first, two)):
            sql.execute("UPDATE config.console_user SET name = %s WHERE user_id = %s", [other, id])
        for way in ("disable", "remove"):
            refused = place.run("user", way, one, *ORG, check=False)
            assert refused.returncode == 1 and str(second) in refused.stderr
        for id, other in ((first, "aside"), (second, two), (first, one)):
            sql.execute("UPDATE config.console_user SET name = %s WHERE user_id = %s", [other, id])
    assert place.visit(one).is_in and place.visit(two).is_in


@pytest.mark.parametrize("way", ["disable", "remove"])
def test_a_name_ends_no_other_client_in_place_of_the_one_that_sql_put_aside(place, way):
    client = place.add_client(called := name("client"))
    id, token = client["clientId"], place.token(client).json()["access_token"]
    rows = ("config.api_client", "client_id = %s", [id]), ("config.api_client_secret", "client_id = %s", [id])
    with aside(place, *rows, client_id=uuid.uuid4(), systemuser_id=uuid.uuid4()) as decoy:
        refused = place.run("client", way, called, *ORG, check=False)
        assert refused.returncode == 1 and str(decoy) in refused.stderr, refused
        place.run("client", "remove", str(decoy), *ORG)
        place.run("client", "disable", id, *ORG)
    assert place.token(client).status_code == 401 and place.get("WhoAmI", token).status_code == 401
    place.run("client", "remove", id, *ORG)
    # The control: without SQL, the command finds the client by name.
    client = place.add_client(called := name("client"))
    place.run("client", way, called, *ORG)
    assert place.token(client).status_code == 401 and called not in str(place.doctor())


def test_a_name_ends_no_other_issuer_in_place_of_the_one_that_sql_put_aside(place):
    def added():
        place.run("issuer", "add", made := name("Issuer"), "--issuer", f"https://{made.lower()}.example", "--client-id", "fieldseal", *ORG, stdin="secret\n")
        return made, place.sql("SELECT issuer_id FROM config.oidc_issuer WHERE name = %s", [made])[0][0]

    issuer, id = added()
    with aside(place, ("config.oidc_issuer", "issuer_id = %s", [id]), issuer_id=uuid.uuid4()) as decoy:
        refused = place.run("issuer", "remove", issuer, *ORG, check=False)
        assert refused.returncode == 1 and str(decoy) in refused.stderr, refused
        place.run("issuer", "remove", str(decoy), *ORG)
        place.run("issuer", "remove", str(id), *ORG)
    assert issuer not in place.visit("nobody").answer.text and issuer in place.doctor()["row-put-back"]
    place.run("issuer", "remove", str(id), *ORG)
    # The control: without SQL, the command finds the issuer by name.
    issuer, _ = added()
    assert issuer in place.visit("nobody").answer.text
    place.run("issuer", "remove", issuer, *ORG)
    assert issuer not in place.visit("nobody").answer.text and issuer not in str(place.doctor())


# Clients whose rights a server has in memory


STATE = "config.attested_state"
#: The columns of the attested state that SQL restores together with the client's row.
FORMER = {
    "the revision and the digest": ["revision", "grants_digest"], "with the tag": ["revision", "grants_digest", "tag"],
    "all but the events": ["revision", "grants_digest", "grants", "tag", "key_version", "fingerprint", "kek_id"],
    "all": ["revision", "grants_digest", "grants", "tag", "key_version", "fingerprint", "kek_id", "events", "newest_event", "head"],
}


def put(sql, table, condition, id, row):
    sql.execute(f"UPDATE {table} SET {', '.join(f'{n} = %s' for n in row)} WHERE {condition} = %s", [*row.values(), id])


@pytest.mark.parametrize("former", FORMER)
@pytest.mark.parametrize("way", [("disable",), ("role", "Basic User")], ids=lambda way: way[0])
def test_no_session_that_a_server_remembers_outlasts_a_revocation(place, way, former):
    """SQL restores the client's row, and the columns of the attested state with which a server decides whether its memory is up to date."""
    client, other = place.add_client(name("remembered")), place.add_client(name("other"))
    token, others = (place.token(each).json()["access_token"] for each in (client, other))

    def administers(of=token):
        return place.get("emailserverprofiles?$top=1", of).status_code == 200, place.get("emailserverprofiles", of, method="POST", json={"name": "made"}).status_code == 204

    for _ in range(3):
        assert administers() == (True, True)
    [(organization,)] = place.sql("SELECT organization_id FROM config.organization WHERE name = 'contoso'")
    with connect(place) as sql:
        [state] = read(sql, STATE, "organization_id = %s", [organization])
        [row] = read(sql, "config.api_client", "client_id = %s", [client["clientId"]])
        place.run("client", way[0], client["clientId"], *way[1:], *ORG)
        [state_now] = read(sql, STATE, "organization_id = %s", [organization])
        [row_now] = read(sql, "config.api_client", "client_id = %s", [client["clientId"]])
        put(sql, STATE, "organization_id", organization, {n: state[n] for n in FORMER[former]})
        put(sql, "config.api_client", "client_id", client["clientId"], {n: row[n] for n in ("role", "disabled_on", "tag")})
        try:
            for _ in range(3):
                assert administers() == (False, False)
        finally:
            put(sql, STATE, "organization_id", organization, {n: state_now[n] for n in FORMER["all"]})
        # SQL restores only the client's row. It does not make the client an administrator.
        assert administers() == (False, False)
        put(sql, "config.api_client", "client_id", client["clientId"], {n: row_now[n] for n in ("role", "disabled_on", "tag")})
    assert administers() == (False, False)
    # The control: another client keeps its rights.
    assert administers(others) == (True, True)


# Secrets of clients


def rotated(place, client, *options):
    return json.loads(place.run("client", "rotate", client["clientId"], *options, *ORG, "--json").stdout)


def with_secret(client, rotation):
    return client | {"clientSecret": rotation["clientSecret"]}


@pytest.mark.parametrize("overlap", ["0", "1"])
def test_a_secret_that_sql_put_aside_ends_with_the_others(place, overlap):
    client = place.add_client(name("rotated"), "Basic User")
    with aside(place, ("config.api_client_secret", "client_id = %s", [client["clientId"]])):
        new = with_secret(client, rotated(place, client, "--overlap", overlap))
    assert place.token(new).status_code == 200

    def refused(server):
        assert place.token(client, server).status_code == 401

    place.everywhere(refused)
    assert "secret of client rotated" in place.doctor()["row-put-back"]
    # The control: a rotation without SQL. The former secret is valid only if there is an overlap.
    newer = with_secret(client, rotated(place, client, "--overlap", overlap))
    assert place.token(newer).status_code == 200 and place.token(new).status_code == (401 if overlap == "0" else 200)
    assert "secret of client" not in str(place.doctor())
    place.run("client", "remove", client["clientId"], *ORG)


def test_a_secret_with_another_date_gets_no_overlap(place):
    """At most two secrets of a client are valid. A rotation ends the oldest one, even if SQL changed the times of their creation."""
    client = place.add_client(name("dated"), "Basic User")
    second = with_secret(client, rotated(place, client, "--overlap", "1"))
    assert place.token(client).status_code == 200 == place.token(second).status_code
    place.sql_as("fieldseal_service", "UPDATE config.api_client_secret SET created_on = now() + interval '1 day' WHERE client_id = %s AND expires_on IS NOT NULL", [client["clientId"]])
    third = with_secret(client, rotated(place, client, "--overlap", "1"))
    assert place.token(client).status_code == 401
    assert place.token(second).status_code == 200 == place.token(third).status_code


def test_one_secret_that_sql_put_aside_ends(place):
    administrator, client = person(place)[0], place.add_client(name("two"), "Basic User")
    second = with_secret(client, rotated(place, client, "--overlap", "1"))
    [(id,)] = place.sql("SELECT secret_id FROM config.api_client_secret WHERE client_id = %s AND expires_on IS NOT NULL", [client["clientId"]])
    ada = place.visit(administrator)
    form = {"csrf": ada.csrf(), "id": client["clientId"], "secret": str(id), "confirmed": subject("access/end-secret-client", client["clientId"], str(id))}
    with aside(place, ("config.api_client_secret", "secret_id = %s", [id])):
        answer = ada.page("access/end-secret-client", **form)
        assert answer.status_code == 303 and "done=" in answer.headers["Location"], (answer.headers, answer.text)
    assert place.token(client).status_code == 401 and place.token(second).status_code == 200


# Sessions


ENDS = ["end-sessions", "disable", "everywhere", "from an account"]


@pytest.mark.parametrize("way", ENDS)
def test_a_session_that_sql_put_aside_ends_with_the_others(place, way):
    person(place)
    who, id = person(place)
    hidden, other = place.visit(who), place.visit(who)
    only = ("config.console_session", "token_hash = sha256(%s::bytea)", [hidden.secret])
    with aside(place, only):
        end(place, way, who, other, hidden)
    if way == "disable":
        assert not place.visit(who).is_in
        place.run("user", "enable", who, *ORG)

    def ended(server):
        assert hidden.page(server=server).status_code == 303

    place.everywhere(ended)
    if way != "from an account":
        assert other.page().status_code == 303
        assert who in place.doctor()["row-put-back"]
    # The control: the person can sign in again.
    assert place.visit(who).page().status_code == 200
    place.run("user", "remove", who, *ORG)
    assert "attested-rows-missing" not in place.doctor()


def end(place, way, who, other, hidden):
    if way in ("end-sessions", "disable"):
        return place.run("user", way, who, *ORG)
    csrf = other.csrf()
    if way == "everywhere":
        answer = other.page("sign-out", csrf=csrf, everywhere="1", confirmed=subject("sign-out", who))
    else:
        [(id,)] = place.sql("SELECT encode(sha256(%s::bytea), 'hex')", [hidden.secret])
        answer = other.page("account/end-session", csrf=csrf, id=id)
    assert answer.status_code == 303, answer.text


@pytest.mark.parametrize("is_away", [True, False])
@pytest.mark.parametrize("form", [{}, {"everywhere": "1"}], ids=["this one", "everywhere"])
def test_a_session_that_sql_put_aside_or_gave_to_another_is_signed_out(place, form, is_away):
    (who, _), (victim, other) = person(place), person(place)
    visitor, second, theirs = place.visit(who), place.visit(who), place.visit(victim)
    csrf, only = visitor.csrf(), ("config.console_session", "token_hash = sha256(%s::bytea)", [visitor.secret])
    with aside(place, only):
        if not is_away:
            with connect(place) as sql:
                sql.execute(
                    "INSERT INTO config.console_session (token_hash, user_id, fresh_on, tag) VALUES (sha256(%s::bytea), %s, now(), sha256('tag'))", [visitor.secret, other])
        answer = visitor.page("sign-out", csrf=csrf, **form)
    if form:
        # The page says that other sessions did not end, because the service does not know whose session this was.
        assert answer.status_code == 403 and "your other sessions did not" in answer.text, answer.text
    else:
        assert answer.status_code == 303 and "/sign-in" in answer.headers["Location"]

    def ended(server):
        assert visitor.page(server=server).status_code == 303

    place.everywhere(ended)
    assert second.page().status_code == theirs.page().status_code == 200
    # The control: a sign-out everywhere in a session that SQL did not change ends all sessions of the person.
    second.page("sign-out", csrf=second.csrf(), everywhere="1", confirmed=subject("sign-out", who))
    assert second.page().status_code == 303 and theirs.page().status_code == 200


def test_what_ended_stays_so_under_another_key_encryption_key(own_place):
    place = own_place
    client, (who, id) = place.add_client("rotated", "Basic User"), person(place)
    hidden = place.visit(who)
    with aside(place, ("config.api_client_secret", "client_id = %s", [client["clientId"]])), aside(place, sessions(id)):
        new = with_secret(client, rotated(place, client, "--overlap", "0"))
        place.run("user", "end-sessions", who, *ORG)
    later = place.visit(who)
    place.run("kek", "create", str(place.home / "kek.new"), settings=None)
    configure(place, kekFile=str(place.home / "kek"), newKek={"file": str(place.home / "kek.new")})
    place.server.stop()
    place.server.start()
    place.run("kek", "rotate")
    assert place.token(client).status_code == 401 and hidden.page().status_code == 303
    # The control: what was created after the attack remains valid, and can be ended as usual.
    assert place.token(new).status_code == 200 == later.page().status_code
    assert "attested-rows-missing" not in place.doctor()
    place.run("user", "end-sessions", who, *ORG)
    assert later.page().status_code == 303 and place.visit(who).page().status_code == 200


# Recovery codes


def recovery_codes(answer):
    return re.findall(r"<li><code>([A-Z2-7-]{19})</code>", answer.text)


def test_recovery_codes_that_sql_put_aside_end_with_the_others(own_place):
    place = own_place
    who, id = person(place)
    visitor = place.visit(who)
    csrf = visitor.csrf()
    offered = visitor.page("account/offer", csrf=csrf).text
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1].replace(" ", ""), re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    old = recovery_codes(visitor.page("account/confirm", csrf=csrf, sealed=sealed, code=one_time_password(secret, -1)))
    with aside(place, ("config.console_recovery_code", "user_id = %s", [id])):
        new = recovery_codes(visitor.page("account/codes", csrf=csrf, code=one_time_password(secret)))
    assert len(old) == len(new) == 10 and not set(old) & set(new)
    place.everywhere(lambda server: not place.visit(who, code=old[0], server=server).is_in or pytest.fail("a former code counts"))
    findings = place.doctor()
    # A refused code stays in the table. If it were deleted, the doctor would report it as missing from the attested list.
    assert who in findings["row-put-back"] and "attested-rows-missing" not in findings
    # A former code that SQL hid is accepted nowhere else either.
    assert visitor.page("account/end", csrf=csrf, code=old[1]).status_code == 400
    # The control: each new code is accepted once.
    assert place.visit(who, code=new[0]).is_in and not place.visit(who, code=new[0]).is_in and place.visit(who, code=new[1]).is_in
    place.run("user", "reset", who, *ORG, stdin=f"{PASSWORD}\n")
    assert place.visit(who).is_in and who not in str(place.doctor())


# Roles and teams


@pytest.mark.parametrize("what", ["member", "role", "both"])
def test_what_sql_put_aside_while_its_team_was_deleted_gives_nothing(place, what):
    client, team = Client(place), made(place, name("team"))
    role = role_id(place, "System Administrator")
    link(place, f"teams({team})/{TEAM_ROLES}", f"roles({role})")
    link(place, f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    assert client.administers()
    rows = {
        "team": ("org_contoso.team", "teamid = %s", [team]), "link": ("org_contoso.teamroles", "teamid = %s", [team]),
        "role": ("org_contoso.role", "roleid = %s", [role]), "member": ("org_contoso.teammembership", "teamid = %s", [team]),
    }
    with connect(place, superuser=True) as sql:
        sql.execute("SET session_replication_role = 'replica'")
        kept = {part: read(sql, *rows[part]) for part in rows}
        hidden = {"both": ("role", "member", "link")}.get(what, (what,))
        for part in hidden:
            sql.execute(f"DELETE FROM {rows[part][0]} WHERE {rows[part][1]}", rows[part][2])
        admin(place, "DELETE", f"teams({team})")
        for part in ("team", "link", "member") + (("role",) if "role" in hidden else ()):
            for row in kept[part]:
                insert(sql, rows[part][0], row)

    def powerless(server):
        assert not client.administers(server)

    place.everywhere(powerless)
    # The links give nothing either if an administrator creates a team with this id again, and gives it the role.
    with connect(place, superuser=True) as sql:
        sql.execute("SET session_replication_role = 'replica'")
        for part in ("team", "link", "member"):
            sql.execute(f"DELETE FROM {rows[part][0]} WHERE {rows[part][1]}", rows[part][2])
    assert place.get("teams", place.server.token, method="POST", json={"teamid": team, "name": name("again")}).status_code == 204
    link(place, f"teams({team})/{TEAM_ROLES}", f"roles({role})")
    with connect(place) as sql:
        for row in kept["member"]:
            insert(sql, rows["member"][0], row)
    place.everywhere(powerless)
    # The control: a member whom an administrator adds has the team's role until the team is deleted.
    link(place, f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    assert client.administers()
    admin(place, "DELETE", f"teams({team})")
    assert not client.administers() and "attested-rows-missing" not in place.doctor()


@pytest.mark.parametrize("of_team", [True, False])
def test_a_role_that_is_taken_away_while_sql_put_its_row_aside_stays_away(place, of_team):
    client, role = Client(place), role_id(place)
    team = made(place, name("team"))
    link(place, f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    path = f"teams({team})/{TEAM_ROLES}" if of_team else f"systemusers({client.user})/{ROLES}"
    link(place, path, f"roles({role})")
    assert client.administers()
    row = ("org_contoso.teamroles", "teamid = %s", [team]) if of_team else ("org_contoso.systemuserroles", "systemuserid = %s", [client.user])
    with aside(place, row):
        admin(place, "DELETE", f"{path}({role})/$ref")
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("the role came back"))
    # The control: without SQL, the role is given and taken away.
    link(place, path, f"roles({role})")
    assert client.administers()
    admin(place, "DELETE", f"{path}({role})/$ref")
    assert not client.administers()


def test_a_member_whom_sql_put_aside_before_any_role_was_given_gets_none(own_place):
    """Deleting a team ends its memberships, also in an organization that has not given any role yet."""
    place = own_place
    client, team = Client(place), made(place, name("team"))
    link(place, f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    member = ("org_contoso.teammembership", "teamid = %s", [team])
    with connect(place) as sql:
        kept = read(sql, *member)
        sql.execute(f"DELETE FROM {member[0]} WHERE {member[1]}", member[2])
        admin(place, "DELETE", f"teams({team})")
        assert place.get("teams", place.server.token, method="POST", json={"teamid": team, "name": name("again")}).status_code == 204
        link(place, f"teams({team})/{TEAM_ROLES}", f"roles({role_id(place, 'System Administrator')})")
        for row in kept:
            insert(sql, member[0], row)
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("a former member has the role"))
    assert client.user in place.doctor()["role-not-given-here"]
    # The control: a member whom an administrator adds has the team's role.
    with connect(place) as sql:
        sql.execute(f"DELETE FROM {member[0]} WHERE {member[1]}", member[2])
    link(place, f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    assert client.administers()
