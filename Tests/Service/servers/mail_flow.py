"""A continuous flow of mail through routers, and a check that no mail was lost or duplicated."""

import itertools
import json
import signal
import subprocess

from mail import Mail, message, profile, queue
from service import PATIENCE, PROGRAM
from waiting import until
from worker import Worker
from writers import is_refusal, is_unknown


class MailFlow(Worker):
    """Dovecot, Postfix and routers. Messages arrive at each address, and the queue of the first address sends e-mails."""

    ADDRESSES = ("support@contoso.test", "alice@contoso.test", "carol@contoso.test")

    def __init__(self, server, routers=1):
        """`server` is a server, or a balancer in front of several, with `cluster`, `base`, `request`, `get` and `create`. If there are several
        routers, each may watch all but one of the mailboxes."""
        self.server, self.home, self.numbers = server, server.cluster.home, itertools.count()
        self.received, self.accepted, self.routers, self.log = [], set(), [], self.server.cluster.home / "router.log"
        self.servers = Mail(self.home)
        try:
            made = [queue(server, self.servers, profile(server, self.servers), address) for address in self.ADDRESSES]
            self.queue, self.boxes = made[0][0], [box for _, box in made]
            idle = len(self.ADDRESSES) if routers == 1 else len(self.ADDRESSES) - 1
            for number in range(routers):
                self.start_router(f"router-{number}", idle)
            until(self.are_enabled, what=lambda: self.log.read_text()[-3000:])
        except BaseException:
            self.end()
            raise
        super().__init__()

    def start_router(self, name, idle):
        client = json.loads(self.server.cluster.run("client", "add", name, "--org", "contoso", "--role", "Email Router", "--json").stdout)
        secret = self.home / f"{name}.secret"
        secret.touch(0o600)
        secret.write_text(client["clientSecret"] + "\n")
        self.routers.append(subprocess.Popen(
            [PROGRAM, "router", "--service", self.server.base, "--org", "contoso", "--client-id", client["clientId"], "--interval", "1",
             "--idle-connections", str(idle), "--secret-file", str(secret), "--ca-file", str(self.home / "server.pem"),
             "--mail-ca-file", self.servers.description["caFile"]],
            stdin=subprocess.DEVNULL, stderr=open(self.log, "ab")))

    def are_enabled(self):
        records = [self.server.get(f"mailboxes({box})?$select=incomingemailstatus,outgoingemailstatus").json() for box in self.boxes]
        return all(record["incomingemailstatus"] == record["outgoingemailstatus"] == 1 for record in records)

    def step(self):
        number = next(self.numbers)
        for address in self.ADDRESSES:
            self.servers.drop(address, [message(subject=f"in {number}", to=address).as_bytes()])
        self.received.append(f"in {number}")
        self.send(f"out {number}")
        self.stopped.wait(0.2)

    def send(self, subject):
        created = self.server.request("POST", "emails", {"subject": subject, "description": "Text", "email_activity_parties": [
            {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({self.queue})"},
            {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
        if created.status_code == 204:
            path = f"{created.headers['OData-EntityId'].rsplit('/', 1)[1]}/Microsoft.Dynamics.CRM.SendEmail"
            sent = self.server.request("POST", path, {"IssueSend": True, "TrackingToken": ""})
            if sent.status_code == 200:
                self.accepted.add(subject)
            else:
                assert is_refusal(sent) or is_unknown(sent), sent.text
        else:
            assert is_refusal(created) or is_unknown(created), created.text

    def check(self, database):
        """Checks that each message became one record. Each accepted e-mail must have arrived once, or its record says that this is unknown."""
        for box in self.boxes:
            def incoming():
                return [s for (s,) in database.sql("SELECT subject FROM org_contoso.email WHERE receivingmailboxid = %s", [box])]

            until(lambda: set(incoming()) >= set(self.received), what=lambda: self.log.read_text()[-3000:])
            assert sorted(incoming()) == sorted(self.received) != []
        until(lambda: not {6, 7} & set(self.states(database).values()), what=lambda: f"{self.states(database)} {self.log.read_text()[-3000:]}")
        states = self.states(database)
        assert self.accepted and all(states[subject] in (3, 8) for subject in self.accepted), states
        # Postfix delivers a message some time after it has accepted it.
        until(lambda: {s for s, state in states.items() if state == 3} <= set(self.arrived()), what=lambda: f"{states} {self.arrived()}")
        arrived = self.arrived()
        counts = {subject: arrived.count(subject) for subject in states}
        assert all(count == 1 if states[s] == 3 else count <= 1 for s, count in counts.items()), (counts, states)
        reasons = database.sql(
            "SELECT DISTINCT failure LIKE 'The connection broke while%%' FROM org_contoso.email WHERE sendermailboxid = %s AND statuscode = 8",
            [self.boxes[0]])
        assert reasons in ([], [(True,)])

    def states(self, database):
        """The status of each e-mail that the test created, by its subject."""
        return dict(database.sql("SELECT subject, statuscode FROM org_contoso.email WHERE sendermailboxid = %s", [self.boxes[0]]))

    def arrived(self):
        return [m["Subject"] for m in self.servers.messages("customer@elsewhere.test")]

    def kill_router(self):
        router = self.routers.pop()
        router.kill()
        router.wait(PATIENCE)

    def end(self):
        """Stops the routers and the mail servers."""
        for router in self.routers:
            router.send_signal(signal.SIGTERM)
            router.wait(PATIENCE)
        self.servers.stop()
