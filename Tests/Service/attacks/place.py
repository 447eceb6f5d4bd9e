"""A deployment to attack: a server that runs all the time, a fresh server for second checks, and SQL as each role."""

import collections
import contextlib
import copy
import json
import re
import socket
import uuid

import psycopg
import requests
from cluster import Cluster
from connections import Connections
from server import Server

#: The database roles as which an attacker runs SQL. None of them gives access to the key-encryption key.
SQL_ROLES = ["fieldseal_service", "fieldseal_owner", "postgres"]
PASSWORD = "a long password of a person"


def name(prefix):
    """A name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


class Place(Cluster):
    def __init__(self):
        super().__init__()
        self.connections = Connections(self.home / "server.pem")
        self.server = Server(self)

    @classmethod
    @contextlib.contextmanager
    def made(cls):
        place = cls()
        try:
            yield place
        finally:
            place.remove()

    def remove(self):
        self.server.stop()
        super().remove()

    # SQL

    def sql_as(self, role, statement, parameters=None):
        """Runs one statement as the login of the service, as the owner of the tables, or as a superuser. Returns its rows."""
        user = "fieldseal_service" if role == "fieldseal_service" else "postgres"
        with psycopg.connect(f"host={self.home} user={user} dbname=fieldseal", autocommit=True) as connection:
            if role == "fieldseal_owner":
                connection.execute("SET ROLE fieldseal_owner")
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    @contextlib.contextmanager
    def put_back(self, table, condition="true"):
        """Saves rows of a table of `config`. Yields a function that restores them, and changes no other rows."""
        rows = self.sql(f"SELECT * FROM config.{table} WHERE {condition}")
        [(key,)] = self.sql(
            "SELECT array_agg(a.attname::text) FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
            "WHERE i.indrelid = %s::regclass AND i.indisprimary", [f"config.{table}"])
        names = [n for (n,) in self.sql(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum", [f"config.{table}"])]

        def restore(role="postgres"):
            for row in rows:
                sets = ", ".join(f"{n} = excluded.{n}" for n in names if n not in key) or f"{key[0]} = excluded.{key[0]}"
                if table == "attested_state":
                    # The service's role may update this row, but not insert it.
                    values = dict(zip(names, row))
                    assignments = ", ".join(f"{n} = %({n})s" for n in names if n != "organization_id")
                    self.sql_as(role, f"UPDATE config.attested_state SET {assignments} WHERE organization_id = %(organization_id)s", values)
                else:
                    self.sql_as(role, f"INSERT INTO config.{table} VALUES ({', '.join(['%s'] * len(row))}) ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}", row)

        yield restore

    # What clients and people do

    def add_client(self, name, role="System Administrator"):
        return json.loads(self.run("client", "add", name, "--role", role, "--org", "contoso", "--json").stdout)

    def token(self, client, server=None):
        """Requests a token. Deletes the counts of failed sign-ins before, because they could lock out this address."""
        self.sql("DELETE FROM config.failed_sign_in")
        return self.connections.session.post(
            f"{(server or self.server).base}/contoso/oauth2/v2.0/token", timeout=60,
            data={"grant_type": "client_credentials", "client_id": client["clientId"], "client_secret": client["clientSecret"]})

    def get(self, path, token, server=None, method="GET", **options):
        return self.connections.session.request(
            method, f"{(server or self.server).base}/contoso/api/data/v9.2/{path}", timeout=60,
            headers={"Authorization": f"Bearer {token}"}, **options)

    @contextlib.contextmanager
    def server_session(self):
        """An HTTP session that is signed in to nothing."""
        with requests.Session() as session:
            session.trust_env, session.verify = False, str(self.home / "server.pem")
            yield session

    def add_user(self, name, role="System Administrator", password=PASSWORD):
        self.run("user", "add", name, "--role", role, "--org", "contoso", stdin=f"{password}\n")

    def person_id(self, name):
        """The id of a person. Commands accept a person whose row SQL changed only by id."""
        [(id,)] = self.sql("SELECT user_id::text FROM config.console_user WHERE name = %s", [name])
        return id

    def visit(self, name, password=PASSWORD, code="", server=None, cookie=None):
        """Signs a person in to the console. Returns the `Visitor`, also if the sign-in fails. `cookie` is the cookie of an earlier session."""
        self.sql("DELETE FROM config.failed_sign_in")
        return Visitor(self, server or self.server, name, password, code, cookie)

    @contextlib.contextmanager
    def fresh_server(self):
        """Another server, which keeps nothing in memory from earlier requests."""
        server = copy.copy(self.server)
        server.log = open(self.home / "fresh.log", "ab")
        text = self.server.settings.read_text()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # Both servers have one base URL, so that each accepts the other's tokens and cookies.
        server.settings = self.home / f"fresh-{port}.yaml"
        server.settings.write_text(text.replace(f'"port": {self.server.port}', f'"port": {port}'))
        server.base = f"https://localhost:{port}"
        server.port = port
        server.start()
        try:
            yield server
        finally:
            server.stop()

    #: Whether checks also run on a fresh server. Servers don't know which role ran the SQL, so one role of each attack is enough.
    looks_twice = True

    def everywhere(self, check):
        """Runs a check on the server that runs all the time and on a fresh server."""
        check(self.server)
        if self.looks_twice:
            with self.fresh_server() as server:
                check(server)

    # What an administrator sees

    def doctor(self):
        """The doctor's findings: for each code, the messages, one a line."""
        found = collections.defaultdict(list)
        for finding in json.loads(self.run("doctor", "--json", check=False).stdout)["findings"]:
            found[finding["code"]].append(finding["message"])
        return {code: "\n".join(messages) for code, messages in found.items()}

    def is_refused(self, server, token):
        """Whether the server refuses each request for the organization and names the command that resolves it."""
        answer = self.get("mailboxes", token, server)
        return answer.status_code == 403 and "contoso is refused" in answer.text and "fieldseal org attach contoso" in answer.text


class Visitor(requests.Session):
    def __init__(self, place, server, name, password, code, cookie):
        super().__init__()
        self.place, self.trust_env, self.verify = place, False, str(place.home / "server.pem")
        self.headers.update({"Origin": place.server.base, "Accept-Language": "en", "Host": place.server.base.removeprefix("https://")})
        self.answer = self.post(
            f"{server.base}/contoso/sign-in", {"name": name, "password": password, "code": code}, allow_redirects=False,
            headers={"Cookie": f"__Host-fieldseal={cookie}"} if cookie else None)
        cookie = re.match(r"__Host-fieldseal=([\w-]{43});", self.answer.headers.get("Set-Cookie", ""))
        self.cookies.clear()
        self.secret = cookie and cookie[1]

    @property
    def is_in(self):
        return self.answer.status_code == 303 and self.secret is not None

    def page(self, path="overview", server=None, token=None, **form):
        headers = {"Cookie": f"__Host-fieldseal={token or self.secret}"}
        base = (server or self.place.server).base
        url = f"{base}/contoso/{path}"
        if form:
            answer = self.post(url, form, headers=headers, allow_redirects=False)
            # The page that asks for a confirmation has its own address, to which the response redirects.
            if "?asked=" not in answer.headers.get("Location", ""):
                return answer
            url = base + answer.headers["Location"]
        return self.get(url, headers=headers, allow_redirects=False)

    def shown_after(self, path, **form):
        """The page to which a form redirects. It shows values such as new secrets only once."""
        done = self.page(path, **form)
        assert done.status_code == 303, (done.status_code, done.text)
        return self.page(done.headers["Location"].split("/contoso/", 1)[1])

    def csrf(self, server=None):
        answer = self.page(server=server)
        found = re.search(r'name="csrf" value="(\w+)"', answer.text)
        assert found, (self.answer.status_code, self.secret is not None, answer.status_code, answer.headers.get("Location"), answer.text)
        return found[1]

    def key(self, server=None, csrf=None):
        """The response to pressing "Show the key"."""
        return self.page("settings/data-encryption/key", server, csrf=csrf or self.csrf(server))
