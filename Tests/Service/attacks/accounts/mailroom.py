"""A deployment whose router process is stopped. The tests send the router's requests themselves."""

import contextlib
import json
import os
import signal
import time
import uuid

import psycopg
import pytest
from service import PATIENCE, Deployment

GOOD, EVIL = "imap.good.example", "imap.evil.example"


class Mailroom(Deployment):
    """Each request is sent as the client that the argument `client` names: `admin`, `mailadmin`, `user` or `router`."""

    def start(self):
        super().start()
        os.kill(self.started_router(), signal.SIGSTOP)
        made = self.json("client", "add", "mailadmin", "--org", "contoso", "--role", "Email Administrator")
        self.dev["clients"]["mailadmin"] = made
        self.users = {name: self.get("WhoAmI", client=name).json()["UserId"] for name in ("admin", "mailadmin", "user")}
        return self

    def started_router(self):
        """Waits until the router's process has started. Returns its process id."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.router_pid()
            except AssertionError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def remove(self):
        with contextlib.suppress(AssertionError, OSError):
            os.kill(self.router_pid(), signal.SIGCONT)
        super().remove()

    # Records

    def profile(self, client="admin", **more):
        return self.create("emailserverprofiles", {
            "name": f"profile {uuid.uuid4()}", "servertype": 4, "incomingserverlocation": GOOD, "incomingportnumber": 993,
            "incomingusessl": True, "outgoingserverlocation": GOOD, "outgoingportnumber": 465, "outgoingusessl": True,
            "incomingcredentialretrieval": 0, "outgoingcredentialretrieval": 0, "usesamesettingsforoutgoingconnections": True,
            **more}, client=client)

    def queue_box(self, profile=None, address=None, **more):
        """Creates a queue whose mailbox is approved and enabled. Returns (queue, mailbox). The mailbox's password is `victim's secret`."""
        address = address or f"q{uuid.uuid4().hex[:8]}@contoso.test"
        queue = self.create("queues", {"name": address, "emailaddress": address})
        box = self.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
        self.enable(box, profile, **more)
        return queue, box

    def user_box(self, user, profile=None, address=None, **more):
        """Creates a mailbox for a systemuser and enables it. Returns the mailbox's id."""
        address = address or f"u{uuid.uuid4().hex[:8]}@contoso.test"
        assert self.request("PATCH", f"systemusers({user})", {"internalemailaddress": address}).status_code == 204
        self.sql("UPDATE org_contoso.mailbox SET statecode = 1 WHERE regardingobjectid = %s", [user])
        box = self.create("mailboxes", {"name": address, "emailaddress": address, "ownerid@odata.bind": f"/systemusers({user})"})
        self.sql("UPDATE org_contoso.mailbox SET regardingobjectid = %s, regardingobjecttypecode = 'systemuser', isforwardmailbox = false WHERE mailboxid = %s", [user, box])
        # SQL wrote whose mailbox this is. The service accepts that after an administrator has named the user in a request.
        self.enable(box, profile, **{"regardingobjectid@odata.bind": f"/systemusers({user})"}, **more)
        return box

    def enable(self, box, profile=None, **more):
        body = {
            "username": "victim", "password": "victim's secret", "allowemailconnectortousecredentials": True,
            "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2, "emailrouteraccessapproval": 1,
            "enabledforincomingemail": True, "enabledforoutgoingemail": True, **more}
        if profile:
            body["emailserverprofile@odata.bind"] = f"/emailserverprofiles({profile})"
        response = self.request("PATCH", f"mailboxes({box})", body)
        assert response.status_code == 204, response.text

    # The router's messages

    def lease(self, box):
        """Leases a mailbox as a router does. Returns the host id under which the lease is held."""
        self.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, postponemailboxprocessinguntil = now() + interval '1 day' WHERE mailboxid <> %s", [box])
        self.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, postponemailboxprocessinguntil = NULL, transientfailurecount = 0 WHERE mailboxid = %s", [box])
        host = f"test {uuid.uuid4()}"
        while True:
            leased = self.call("LeaseMailbox", HostId=host)
            assert leased.status_code == 200, (leased.status_code, leased.text)
            if leased.json()["MailboxId"] == box:
                return host
            self.call("ReportMailbox", HostId=host, MailboxId=leased.json()["MailboxId"], Interval=86_400)

    def call(self, name, client="router", **body):
        return self.request("POST", f"fieldseal.{name}", body, client=client)

    def release(self, box, direction="Incoming", host=None):
        return self.call("ReleaseCredential", MailboxId=box, Direction=direction, HostId=host or self.lease(box))

    def released(self, box, direction="Incoming"):
        """Releases the password. Returns the (server, user name, password) that a router receives."""
        response = self.release(box, direction)
        assert response.status_code == 200, response.text
        answer = response.json()
        return answer["Server"], answer["UserName"], answer["Password"]

    def take(self, box, host=None):
        response = self.call("TakePendingEmails", MailboxId=box, HostId=host or self.lease(box), Limit=50)
        assert response.status_code == 200, response.text
        return response.json()["value"]

    # E-mails

    def draft(self, sender, client="user", to="customer@elsewhere.test", **more):
        kind = "queue" if sender in self.queue_ids() else "systemuser"
        return self.request("POST", "emails", {
            "subject": f"mail {uuid.uuid4()}", "email_activity_parties": [
                {"participationtypemask": 1, f"partyid_{kind}@odata.bind": f"/{kind}s({sender})"}, {"participationtypemask": 2, "addressused": to}],
            **more}, client=client)

    def drafted(self, *arguments, **more):
        response = self.draft(*arguments, **more)
        assert response.status_code == 204, response.text
        return response.headers["OData-EntityId"][-37:-1]

    def queue_ids(self):
        return {str(id) for (id,) in self.sql("SELECT queueid FROM org_contoso.queue")}

    def send(self, email, client="user"):
        return self.request("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""}, client=client)

    def status(self, email):
        return self.sql("SELECT statuscode FROM org_contoso.email WHERE activityid = %s", [email])[0][0]

    # Events, alerts and findings

    def events(self, kind, outcome, text):
        return self.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = %s AND outcome = %s AND details LIKE %s", [kind, outcome, f"%{text}%"])[0][0]

    def alerts(self, box, code):
        return self.get(f"tracelogs?$filter=_regardingobjectid_value eq {box} and tracecode eq {code}").json()["value"]

    def findings(self, code):
        """Runs the doctor. Returns its findings with the code, each as a JSON text."""
        output = self.run("doctor", "--json", "--settings", str(self.home / "fieldseal.yaml"), check=False).stdout
        return [json.dumps(finding) for finding in json.loads(output)["findings"] if finding["code"] == code]

    # Changes by SQL

    def sql_as(self, role, statement, parameters=None, triggers=True):
        """Runs SQL as a role. With `triggers=False`, for which the role must be a superuser, no trigger of a table rejects or notes the change."""
        with psycopg.connect(self.dev["postgres"], autocommit=True) as connection:
            connection.execute("SELECT set_config('role', %s, false)", [role])
            if not triggers:
                connection.execute("SET session_replication_role = replica")
            connection.execute("SET search_path = org_contoso, public")
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def until_one_waits(self):
        """Waits until a statement in the database waits for a lock."""
        deadline = time.monotonic() + PATIENCE
        while self.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'fieldseal'") == [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    # Change sets

    def change_set(self, *requests, client="mailadmin"):
        """Sends a change set of (method, address, body) and returns the statuses and the texts of the responses."""
        body = {"requests": [
            {"id": str(number), "atomicityGroup": "g", "method": method, "url": url, "headers": {"Content-Type": "application/json"}, "body": content}
            for number, (method, url, content) in enumerate(requests)]}
        response = self.request("POST", "$batch", body, client=client, Content_Type="application/json")
        return [r["status"] for r in response.json()["responses"]], json.dumps(response.json())


def refusal(response, *statuses):
    """Asserts that a write was refused with one of the statuses (403 by default), and that the response has an error message. Returns the error."""
    assert response.status_code in (statuses or (403,)), (response.status_code, response.text)
    assert response.json()["error"]["message"]
    return response.json()["error"]


@pytest.fixture(scope="module")
def room():
    """A `Mailroom` in which the client `user` has a mailbox. Test modules import this fixture by its name."""
    with Mailroom.made() as room:
        room.person = room.users["user"]
        room.box = room.user_box(room.person, room.profile(), "user@contoso.test")
        yield room
