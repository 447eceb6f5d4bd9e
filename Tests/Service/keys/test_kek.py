"""Replacing the key-encryption key (KEK) while servers run, and the sources from which a KEK can be read."""

import base64
import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import threading
import uuid

import cell_reader
import psycopg
import pytest
import requests
from cluster import Cluster
from one_time import one_time_password
from server import Server, serve_settings
from service import PATIENCE

ZEROS = uuid.UUID(int=0)
PASSWORDS = {"ada": "ada's own password", "hedy": "hedy's own password", "joan": "joan's own password"}


def identify(path):
    """Reads the file of a KEK and computes its id as docs/operations.md describes: (64 bytes, 16 hexadecimal digits)."""
    key = base64.b64decode(path.read_text())
    return key, hashlib.sha256(b"fieldseal kek" + key).digest()[:8].hex()


class Rotated:
    """A cluster with a value of each kind that a KEK wraps or tags, and a server."""

    def __init__(self):
        self.cluster = Cluster()
        self.cluster.run("org", "create", "fabrikam")
        self.home = self.cluster.home
        self.server = Server(self.cluster)
        self.fill()

    def fill(self):
        for name, password in PASSWORDS.items():
            self.cluster.run("user", "add", name, "--role", "System Administrator", "--org", "contoso", stdin=f"{password}\n")
        self.cluster.run("user", "disable", "joan", "--org", "contoso")
        self.cluster.run("client", "add", "gone", "--role", "Basic User", "--org", "contoso")
        self.cluster.run("client", "disable", "gone", "--org", "contoso")
        self.cluster.run("issuer", "add", "Elsewhere", "--issuer", "https://localhost:1", "--client-id", "x", "--org", "contoso", stdin="an issuer's secret\n")
        self.router = json.loads(self.cluster.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        # The person hedy gets one-time passwords, and ada gets a session.
        session, answer = self.sign_in("hedy")
        assert answer.status_code == 200, answer.text
        csrf = re.search(r'name="csrf" value="(\w+)"', answer.text)[1]
        offered = session.post(f"{self.pages}/account/offer", {"csrf": csrf}).text
        self.secret = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1]
        sealed = re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
        confirmed = session.post(f"{self.pages}/account/confirm", {"csrf": csrf, "sealed": sealed, "code": one_time_password(self.secret, -1)})
        self.codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", confirmed.text)
        assert len(self.codes) == 10
        self.ada, answer = self.sign_in("ada")
        assert answer.status_code == 200
        # Invites hedy: a link with which hedy can choose a password.
        [(hedy,)] = self.cluster.sql("SELECT user_id::text FROM config.console_user WHERE name = 'hedy'")
        csrf = re.search(r'name="csrf" value="(\w+)"', answer.text)[1]
        self.link = re.search(r"/invitation\?token=[\w-]+", self.ada.post(f"{self.pages}/access/invite-user", {"csrf": csrf, "id": hedy}).text)[0]
        # Mail servers, passwords, an e-mail that waits to be sent, a retired key, and archived events.
        self.profile, self.box = str(uuid.uuid4()), str(uuid.uuid4())
        self.write("POST", "emailserverprofiles", {
            "emailserverprofileid": self.profile, "name": "servers", "servertype": 4, "incomingserverlocation": "localhost", "incomingportnumber": 993,
            "incomingusessl": True, "incomingcredentialretrieval": 0, "outgoingserverlocation": "localhost", "outgoingportnumber": 465, "outgoingusessl": True,
            "outgoingcredentialretrieval": 0})
        self.write("PATCH", f"emailserverprofiles({self.profile})", {"incomingportnumber": 994})
        self.write("POST", "mailboxes", {
            "mailboxid": self.box, "name": "support", "emailaddress": "support@contoso.test", "username": "support", "password": "of the mailbox",
            "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 0,
            "emailrouteraccessapproval": 1, "testemailconfigurationscheduled": True,
            "emailserverprofile@odata.bind": f"/emailserverprofiles({self.profile})"})
        self.cluster.run("key", "change", "--org", "contoso")
        self.archive = self.home / "archive"
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.cluster.run("events", "archive", "--org", "contoso", "--before", now, "--to", str(self.archive))
        self.cluster.run("events", "verify", "--org", "contoso")

    def write(self, method, path, body):
        answer = self.server.request(method, path, body)
        assert answer.status_code in (200, 201, 204), answer.text

    @property
    def pages(self):
        return f"{self.server.base}/contoso"

    def sign_in(self, name, code="", password=None):
        session = requests.Session()
        session.verify, session.trust_env = str(self.home / "server.pem"), False
        session.headers.update({"Origin": self.server.base, "Accept-Language": "en"})
        return session, session.post(f"{self.pages}/sign-in", {"name": name, "password": password or PASSWORDS[name], "code": code})

    def configure(self, **kek):
        """Writes these sources of the KEK into the settings of commands and of the server."""
        for path in [self.home / "direct.yaml", self.home / "proxied.yaml", self.server.settings]:
            lines = [line for line in path.read_text().splitlines() if not line.startswith(("kekFile", "newKek", "kek:"))]
            path.write_text("\n".join(lines + [f"{name}: {json.dumps(value)}" for name, value in kek.items()]) + "\n")
        proxied = self.home / "proxied.yaml"
        database = (f"host=127.0.0.1 port={self.cluster.proxy.port} user=postgres dbname=fieldseal sslmode=disable gssencmode=disable")
        proxied.write_text(re.sub("^migrationDatabase: .*$", f"migrationDatabase: {json.dumps(database)}", proxied.read_text(), flags=re.M))

    def restart(self):
        self.server.stop()
        self.server.start()

    def status(self):
        return json.loads(self.cluster.run("kek", "status", "--json").stdout)

    def is_whole(self):
        """Checks that everything that needs the KEK works: tokens, sign-ins, releases of passwords, keys and evidence."""
        cluster, server = self.cluster, self.server
        assert server.sign_in().status_code == 200 and server.request("GET", "WhoAmI").status_code == 200
        assert cluster.run("verify").returncode == 0
        assert cluster.run("events", "verify", "--org", "contoso", "--archive", str(self.archive)).returncode == 0
        cluster.run("key", "show", "--org", "contoso", "--version", "1")
        assert self.ada.get(f"{self.pages}/overview").url.endswith("/overview"), "a session goes on"
        assert self.sign_in("ada")[1].status_code == 200
        assert self.sign_in("ada", password="not ada's password")[1].status_code == 403
        assert self.sign_in("joan")[1].status_code == 403, "joan is disabled"
        assert self.ada.get(f"{self.pages}{self.link}").status_code == 200, "the link waits"
        findings = {f["code"] for f in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]}
        assert not findings & WRONG, findings

    def released(self):
        """The mailbox's password as a router receives it."""
        def ask(path, body):
            token = requests.post(
                f"{self.pages}/oauth2/v2.0/token", verify=self.home / "server.pem", timeout=PATIENCE, data={
                    "grant_type": "client_credentials", "client_id": self.router["clientId"], "client_secret": self.router["clientSecret"]}).json()["access_token"]
            return requests.post(
                f"{self.pages}/api/data/v9.2/{path}", json=body, verify=self.home / "server.pem", timeout=PATIENCE, headers={"Authorization": f"Bearer {token}"})

        leased = ask("fieldseal.LeaseMailbox", {"HostId": "x", "MailboxId": self.box})
        assert leased.status_code in (200, 204), leased.text
        answer = ask("fieldseal.ReleaseCredential", {"MailboxId": self.box, "Direction": "Incoming", "HostId": "x"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cells(self):
        """Each value of `config` that could be a cell, with the ids and texts of its row."""
        with psycopg.connect(self.cluster.superuser) as connection:
            tables = connection.execute(
                "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns WHERE table_schema = 'config' AND data_type = 'bytea' GROUP BY 1").fetchall()
            organizations = [id for (id,) in connection.execute("SELECT organization_id FROM config.organization")] + [ZEROS]
            for table, columns in tables:
                for row in connection.execute(f"SELECT * FROM config.{table}").fetchall():
                    ids = [value for value in row if isinstance(value, uuid.UUID)] + [ZEROS]
                    texts = [value for value in row if isinstance(value, str)]
                    for value in row:
                        if isinstance(value, bytes) and value[:1] == b"\x01" and len(value) >= 69 and (len(value) - 53) % 16 == 0:
                            yield table, value, organizations, ids, texts

    def opened(self, key):
        """Tries to open all cells of `config` with a KEK: ({table: number of cells that open}, number of cells that do not open)."""
        attributes = ["organizationkey.text", "organizationkey.data", "consoleuser.totp", "consoleuser.layers", "oidc.secret", "signingkey.private"]
        tables, closed = {}, 0
        for table, cell, organizations, ids, texts in self.cells():
            for organization in organizations:
                for record in ids:
                    for attribute in attributes + [f"replacedkek.{text}" for text in texts]:
                        with contextlib.suppress(cell_reader.DoesNotOpen):
                            cell_reader.open_cell(cell, key, organization, record, attribute)
                            tables[table] = tables.get(table, 0) + 1
                            break
                    else:
                        continue
                    break
                else:
                    continue
                break
            else:
                closed += 1
        return tables, closed

    def remove(self):
        with contextlib.suppress(Exception):
            self.server.stop()
        self.cluster.remove()


@contextlib.contextmanager
def traffic(server, path, body):
    """Writes and reads a record until the block ends. Yields the list of the statuses."""
    statuses, ended = [], threading.Event()

    def run():
        while not ended.is_set():
            statuses.append(server.request("PATCH", path, body).status_code)
            statuses.append(server.request("GET", path).status_code)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield statuses
    finally:
        ended.set()
        thread.join(PATIENCE)


#: Findings that would mean that the rotation damaged something or left it under the former KEK.
WRONG = {
    "client-not-made-here", "secret-not-made-here", "user-not-made-here", "session-not-made-here", "issuer-not-made-here", "recovery-code-not-made-here",
    "row-put-back", "revocation-undone", "key-row-changed", "key-derivation-changed", "state-not-attested", "attested-rows-missing", "key-row-missing",
    "wrapped-under-another-kek", "event-chain-cut", "events-refused", "mail-settings-not-authorized",
}


@pytest.fixture(scope="module")
def rotated():
    deployment = Rotated()
    try:
        yield deployment
    finally:
        deployment.remove()


def strike_and_resume(rotated):
    """Interrupts a rotation in the transaction of an organization, at its end, and after all organizations."""
    cluster = rotated.cluster
    for action, mark in [
        ("kill before", "UPDATE config.api_client "), ("cut before", "rewrap_organization_key"), ("terminate after", "UPDATE config.attested_state SET"),
        ("kill after", "LOCK TABLE config.signing_key"),
    ]:
        started = []
        cluster.proxy.reset(lambda _, sql, mark=mark, action=action: action if mark in sql else None, process=lambda: started[0])
        started.append(cluster.popen("kek", "rotate", "--json", settings="proxied"))
        output, errors = started[0].communicate("", timeout=PATIENCE)
        assert cluster.proxy.struck, (action, output, errors)
        assert started[0].returncode != 0
        # After each interruption, each organization is completely under the former or the new KEK.
        rotated.is_whole()
    cluster.proxy.reset()


def test_a_key_encryption_key_is_replaced_while_a_server_runs(rotated):
    cluster, server, home = rotated.cluster, rotated.server, rotated.home
    rotated.is_whole()
    credential = rotated.released()
    assert "of the mailbox" in json.dumps(credential)
    old, old_id = identify(home / "kek")
    cluster.run("kek", "create", str(home / "kek.new"), settings=None)
    new, new_id = identify(home / "kek.new")
    assert set(rotated.opened(old)[0]) == {"organization_key", "signing_key", "console_user", "oidc_issuer"} and rotated.opened(old)[1] == 0

    # A server that does not know the new KEK would refuse rows under it. So the rotation is refused until it knows both.
    refused = cluster.run("kek", "rotate", check=False)
    assert refused.returncode == 1 and "newKek.file" in refused.stderr
    rotated.configure(kekFile=str(home / "kek"), newKek={"file": str(home / "kek.new")})
    refused = cluster.run("kek", "rotate", check=False)
    assert refused.returncode == 1 and f"does not know the key-encryption key {new_id}" in refused.stderr
    assert {u["kekId"] for u in rotated.status()["uses"]} == {old_id} and "Name both keys" in rotated.status()["next"]
    rotated.restart()
    status = rotated.status()
    assert [set(s["kekIds"]) for s in status["servers"]] == [{old_id, new_id}] and (status["inForce"], status["new"]) == (old_id, new_id)

    # The rotation is interrupted at several statements, while a client writes and reads.
    events = cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'key-encryption key replaced'")[0][0]
    with traffic(server, f"mailboxes({rotated.box})", {"password": "of the mailbox"}) as statuses:
        strike_and_resume(rotated)
        done = json.loads(cluster.run("kek", "rotate", "--json").stdout)
    assert set(statuses) == {200, 204} and len(statuses) > 20, "requests go on all the time"
    assert done["done"] and done["kekId"] == new_id
    assert cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'key-encryption key replaced'")[0][0] == events + 1, "one event for each organization"

    # The former KEK opens no cell, and the new one opens all.
    assert rotated.opened(old)[0] == {} and rotated.opened(new)[1] == 0
    assert set(rotated.opened(new)[0]) == {"organization_key", "signing_key", "console_user", "oidc_issuer", "verifier_layer", "replaced_kek"}
    rotated.is_whole()
    assert rotated.released() == credential
    assert {u["kekId"] for u in rotated.status()["uses"]} == {new_id} and "fieldseal kek retire" in rotated.status()["next"]
    again = json.loads(cluster.run("kek", "rotate", "--json").stdout)
    assert again["done"] and {o["count"] for o in again["organizations"]} == {0}, "there is nothing left to do"


def test_the_old_key_is_not_needed_any_more(rotated):
    cluster, home = rotated.cluster, rotated.home
    old_id, new_id = identify(home / "kek")[1], identify(home / "kek.new")[1]
    # A program with only the former KEK is refused. With only the new one, everything works.
    rotated.configure(kekFile=str(home / "kek"))
    refused = cluster.run("verify", check=False)
    assert refused.returncode == 78 and old_id in refused.stderr and new_id in refused.stderr
    rotated.configure(kekFile=str(home / "kek.new"))
    (home / "kek").rename(home / "kek.put-away")
    rotated.restart()
    assert json.loads(cluster.run("kek", "retire", "--json").stdout) == {"retired": [old_id]}
    assert json.loads(cluster.run("kek", "retire", "--json").stdout) == {"retired": []}
    assert rotated.status()["next"] == "There is nothing to do."
    rotated.is_whole()
    assert "of the mailbox" in json.dumps(rotated.released())
    # People sign in for the first time since the rotation: with a recovery code and with a one-time password.
    assert cluster.sql("SELECT count(*) FROM config.verifier_layer") == [(2,)], "ada has signed in since"
    assert rotated.sign_in("hedy", code=rotated.codes[0])[1].status_code == 200
    assert rotated.sign_in("hedy", code=rotated.codes[0])[1].status_code == 403
    assert rotated.sign_in("hedy", code=one_time_password(rotated.secret))[1].status_code == 200
    assert cluster.sql("SELECT count(*) FROM config.verifier_layer") == [(1,)]
    cluster.run("key", "change", "--org", "contoso")
    cluster.run("client", "disable", "router", "--org", "contoso")
    # A client that was disabled before the rotation stays disabled, even if SQL enables it.
    cluster.sql("UPDATE config.api_client SET disabled_on = NULL WHERE name = 'gone'")
    assert "revocation-undone" in {f["code"] for f in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]}
    [(gone,)] = cluster.sql("SELECT client_id::text FROM config.api_client WHERE name = 'gone'")
    cluster.run("client", "disable", gone, "--org", "contoso")
    # A retired KEK is refused by its id. It can't be the new KEK of a rotation either.
    rotated.configure(kekFile=str(home / "kek.put-away"))
    refused = cluster.run("verify", check=False)
    assert refused.returncode == 78 and f"{old_id} was replaced and retired" in refused.stderr
    [(successor,)] = cluster.sql("SELECT successor_id FROM config.replaced_kek WHERE kek_id = %s", [old_id])
    assert f"name {successor}" in refused.stderr, refused.stderr
    served = cluster.run("serve", settings=serve_settings(cluster, "direct").stem, check=False)
    assert served.returncode == 78 and f"{old_id} was replaced and retired" in served.stderr
    rotated.configure(kekFile=str(home / "kek.new"), newKek={"file": str(home / "kek.put-away")})
    refused = cluster.run("kek", "rotate", check=False)
    assert refused.returncode == 1 and "was replaced before, and can't be used again" in refused.stderr
    rotated.configure(kekFile=str(home / "kek.new"))


def test_a_second_rotation_takes_over_what_the_first_left(rotated):
    cluster, home = rotated.cluster, rotated.home
    # Entries of the attested list that have no row in `config`: a role, a rule and a suspension.
    server = rotated.server
    role = next(r["roleid"] for r in server.request("GET", "roles?$select=name").json()["value"] if r["name"] == "Email Administrator")
    unit = server.request("GET", "businessunits?$top=1").json()["value"][0]["businessunitid"]
    user = str(uuid.uuid4())
    rotated.write("POST", "systemusers", {
        "systemuserid": user, "fullname": "Gil", "domainname": "gil", "businessunitid@odata.bind": f"/businessunits({unit})"})
    root = f"{server.base}/contoso/api/data/v9.2"
    rotated.write("POST", f"systemusers({user})/systemuserroles_association/$ref", {"@odata.id": f"{root}/roles({role})"})
    cluster.run("user", "require-second-factor", "--org", "contoso", "--role", "Email Administrator")
    cluster.run("org", "suspend", "contoso")
    cluster.run("kek", "create", str(home / "kek.third"), settings=None)
    rotated.configure(kekFile=str(home / "kek.new"), newKek={"file": str(home / "kek.third")})
    rotated.restart()
    assert json.loads(cluster.run("kek", "rotate", "--json").stdout)["done"]
    rotated.configure(kekFile=str(home / "kek.third"))
    rotated.restart()
    cluster.run("kek", "retire")
    codes = {finding["code"] for finding in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]}
    assert "organization-suspended" in codes and not codes & {"suspension-undone", "role-not-given-here", "role-record-changed", "attested-rows-missing"}, codes
    cluster.run("org", "resume", "contoso")
    # The archive was sealed under the first KEK. The person hedy signed in under the second KEK, and joan has not signed in since the first.
    assert cluster.run("events", "verify", "--org", "contoso", "--archive", str(rotated.archive)).returncode == 0
    assert rotated.sign_in("hedy", code=rotated.codes[1])[1].status_code == 200
    [(layers,)] = cluster.sql("SELECT length(l.layers) FROM config.verifier_layer AS l JOIN config.console_user USING (user_id) WHERE name = 'joan'")
    assert layers > 128, "both subkeys are there"


# Sources of the KEK


def program(path, text):
    path.write_text(text)
    path.chmod(0o700)
    return str(path)


def test_the_key_comes_from_a_program(rotated, tmp_path):
    cluster, home = rotated.cluster, rotated.home
    key = home / "kek.third"
    # No shell interprets the arguments.
    printing = program(tmp_path / "print", """#!/bin/sh\n[ "$2" = 'two words; $(true)' ] && exec cat "$1"\n""")
    rotated.configure(kek={"command": [printing, str(key), "two words; $(true)"]})
    cluster.run("verify")
    for command, words in [
        (["/nowhere/at/all"], "can't be run: No such file"), (["/bin/false"], "ended with the status 1"), (["/bin/echo", "not a key"], "did not print a key-encryption key"),
        (["/usr/bin/yes"], "did not print a key-encryption key"), (["/bin/sh", "-c", "kill -9 $$"], "ended with signal 9"),
    ]:
        rotated.configure(kek={"command": command})
        refused = cluster.run("verify", check=False)
        assert refused.returncode == 1 and words in refused.stderr and command[0] in refused.stderr, refused.stderr
    for kek, words in [
        ({"command": ["cat", "x"]}, "not an absolute path"), ({"command": "cat"}, "kek.command takes"), ({"pkcs11": {"module": "x"}}, "the settings lack kek.pkcs11.token"),
    ]:
        rotated.configure(kek=kek)
        refused = cluster.run("verify", check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr
    rotated.configure(kekFile=str(key), kek={"command": ["/bin/cat", str(key)]})
    assert "keep one of them" in cluster.run("verify", check=False).stderr
    rotated.configure(kekFile=str(key))
    cluster.run("verify")


def test_the_key_is_a_credential_of_systemd(rotated, tmp_path):
    cluster, home = rotated.cluster, rotated.home
    rotated.configure(kek={"credential": "kek"})
    refused = cluster.run("verify", check=False, env={k: v for k, v in os.environ.items() if k != "CREDENTIALS_DIRECTORY"})
    assert refused.returncode == 1 and "systemd passed no credentials" in refused.stderr
    folder = tmp_path / "credentials"
    folder.mkdir()
    credential = folder / "kek"
    credential.write_bytes((home / "kek.third").read_bytes())
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}
    # If the file has an access control list, the group's permission bits show the list's mask. So 0440 is accepted for a credential.
    for mode, code in [(0o400, 0), (0o440, 0), (0o444, 1), (0o460, 1)]:
        credential.chmod(mode)
        assert cluster.run("verify", check=False, env=environment).returncode == code, oct(mode)
    rotated.configure(kek={"credential": "../kek"})
    assert "no name of a credential" in cluster.run("verify", check=False, env=environment).stderr
    rotated.configure(kekFile=str(home / "kek.third"))


def test_the_key_is_decrypted_by_age(rotated, tmp_path):
    """The file on disk is encrypted with age, as docs/key-encryption-key.md describes."""
    cluster, home = rotated.cluster, rotated.home
    identity, sealed = tmp_path / "identity", tmp_path / "kek.age"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["age", "-r", recipient, "-o", sealed, home / "kek.third"], check=True, capture_output=True)
    rotated.configure(kek={"command": ["/usr/bin/age", "--decrypt", "-i", str(identity), str(sealed)]})
    cluster.run("verify")
    assert rotated.status()["inForce"] == identify(home / "kek.third")[1]
    rotated.restart()
    assert rotated.server.request("GET", "WhoAmI").status_code == 200
    identity.write_text("")
    refused = cluster.run("verify", check=False)
    assert refused.returncode == 1 and "/usr/bin/age, which prints the key-encryption key, ended with the status" in refused.stderr
    rotated.configure(kekFile=str(home / "kek.third"))
    rotated.restart()


def living(group):
    """The files in /proc of the processes of a group that have not ended."""
    found = []
    for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The program's name is in parentheses, and may itself contain spaces and parentheses.
            state, _, of = status.read_text().rpartition(")")[2].split()[:3]
            if int(of) == group and state not in "ZX":
                found.append(status)
    return found


def test_a_program_that_does_not_end_is_ended(rotated, tmp_path):
    cluster, home = rotated.cluster, rotated.home
    mark = tmp_path / "started"
    hanging = program(tmp_path / "hang", f'#!/bin/sh\necho $$ > "{mark}"\nsleep 1000 &\nwait\n')
    rotated.configure(kek={"command": [hanging]})
    refused = cluster.run("verify", check=False)
    assert refused.returncode == 1 and "did not end within 30 seconds" in refused.stderr
    group = int(mark.read_text())
    assert living(group) == []
    rotated.configure(kekFile=str(home / "kek.third"))
