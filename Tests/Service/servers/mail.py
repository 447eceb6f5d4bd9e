"""Dovecot and Postfix for tests, and records of the service with which a router uses them."""

import email.message
import email.policy
import imaplib
import importlib.machinery
import importlib.util
import os
import pathlib
import shutil
import smtplib
import ssl
import time

from waiting import until

SCRIPT = pathlib.Path(__file__).parents[3] / "scripts/mail"
_loader = importlib.machinery.SourceFileLoader("mail_servers", str(SCRIPT))
_module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mail_servers", _loader))
_loader.exec_module(_module)
MailServers = _module.MailServers


class Mail:
    """Dovecot and Postfix, used as a person's mail program uses them."""

    def __init__(self, home, **more):
        self.servers = MailServers(home, **more).start()
        self.description = self.servers.description
        self.context = ssl.create_default_context(cafile=self.description["caFile"])
        self.count = 0
        self.passwords = {user["address"]: user["password"] for user in self.description["users"]}

    def inject(self, recipient, message, sender="customer@elsewhere.test"):
        """Sends a message to a mailbox as an outside sender."""
        data = message if isinstance(message, bytes) else message.as_bytes(policy=email.policy.SMTP)
        with smtplib.SMTP("localhost", self.description["inject"]["port"]) as smtp:
            smtp.sendmail(sender, [recipient], data)

    def box(self, address):
        imap = imaplib.IMAP4_SSL("localhost", self.description["imap"]["port"], ssl_context=self.context)
        name, password = address.split("@")[0], self.passwords[address]
        if "AUTH=LOGIN" in imap.capabilities:
            answers = iter([name.encode(), password.encode()])
            imap.authenticate("LOGIN", lambda _: next(answers))
        else:
            imap.login(name, password)
        imap.select()
        return imap

    def messages(self, address):
        imap = self.box(address)
        try:
            numbers = imap.search(None, "ALL")[1][0].split()
            return [email.message_from_bytes(imap.fetch(n, "(BODY.PEEK[])")[1][0][1], policy=email.policy.default) for n in numbers]
        finally:
            imap.logout()

    def drop(self, address, messages, arrived=None):
        """Writes messages as files into a mailbox, unchanged even if they are malformed. `arrived` is their time of arrival."""
        box = self.servers.folder / "boxes" / address.split("@")[0] / "new"
        if not box.exists():
            self.box(address).logout()
        for data in messages:
            name = f"{time.time_ns()}.{self.count}.test"
            self.count += 1
            temporary = box.parent / "tmp" / name
            temporary.write_bytes(data)
            shutil.chown(temporary, "mail", "mail")
            if arrived:
                os.utime(temporary, (arrived, arrived))
            temporary.rename(box / name)

    def change_validity(self, address):
        """Makes Dovecot number the messages of a mailbox anew, under another UIDVALIDITY."""
        box = self.servers.folder / "boxes" / address.split("@")[0]
        for name in ("dovecot-uidlist", "dovecot-uidvalidity", *[p.name for p in box.glob("dovecot-uidvalidity.*")], *[p.name for p in box.glob("dovecot.index*")]):
            (box / name).unlink(missing_ok=True)

    def clear(self, address):
        imap = self.box(address)
        if imap.search(None, "ALL")[1][0]:
            imap.store("1:*", "+FLAGS", "\\Deleted")
            imap.expunge()
        imap.logout()

    def stop(self):
        self.servers.stop()


def message(subject="Hello", sender="Customer <customer@elsewhere.test>", to="support@contoso.test", body="Good day.", **headers):
    result = email.message.EmailMessage()
    result["From"], result["To"], result["Subject"] = sender, to, subject
    for name, value in headers.items():
        result[name.replace("_", "-")] = value
    if "Message-ID" not in result:
        result["Message-ID"] = f"<{time.monotonic_ns()}@elsewhere.test>"
    result.set_content(body)
    return result


def profile(deployment, mail, kind="imap", **more):
    """Creates an e-mail server profile for these servers. Each mailbox has its own password."""
    incoming = mail.description[kind]
    return deployment.create("emailserverprofiles", {
        "name": f"{kind} {time.monotonic_ns()}", "servertype": 4 if kind == "imap" else 1, "incomingserverlocation": "localhost",
        "incomingportnumber": incoming["port"], "incomingusessl": True, "outgoingserverlocation": "localhost",
        "outgoingportnumber": mail.description["smtp"]["port"], "outgoingusessl": True, "incomingcredentialretrieval": 0,
        "outgoingcredentialretrieval": 0, "usesamesettingsforoutgoingconnections": True, **more})


def queue(deployment, mail, profile, address="support@contoso.test", **more):
    """Creates a queue and prepares its mailbox for Test & Enable. Returns (queue, mailbox)."""
    id = deployment.create("queues", {"name": f"{address} {time.monotonic_ns()}", "emailaddress": address, "incomingemailfilteringmethod": 0})
    box = deployment.get(f"queues({id})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    body = {
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "username": address.split("@")[0], "password": mail.passwords[address],
        "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2,
        "emailrouteraccessapproval": 1, "testemailconfigurationscheduled": True, **more}
    response = deployment.request("PATCH", f"mailboxes({box})", body)
    assert response.status_code == 204, response.text
    return id, box


def certificate(deployment):
    """The path of the mail servers' certificate and key, without the file name extension."""
    return deployment.mail.servers.folder / "server"


def subjects(deployment, box):
    """The sorted subjects of the e-mails that a mailbox received."""
    return sorted(e["subject"] for e in deployment.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select=subject").json()["value"])


def alerts(deployment, box, code=None):
    """The alerts about a mailbox, newest first. With `code`, only those with this code."""
    found = deployment.get(f"tracelogs?$filter=_regardingobjectid_value eq {box}&$orderby=createdon desc").json()["value"]
    return [alert for alert in found if code in (None, alert["tracecode"])]


def turn(deployment, box):
    """Makes a router visit the mailbox, and waits for the end of that turn. If a turn is running, waits for its end before."""
    until(lambda: deployment.sql("SELECT processingstatecode IS DISTINCT FROM 1 FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(True,)],
          what=lambda: deployment.log().decode()[-3000:])
    [(before,)] = deployment.sql("SELECT coalesce(processedtimes, 0) FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    deployment.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = NULL WHERE mailboxid = %s", [box])
    until(lambda: deployment.sql("SELECT processedtimes > %s FROM org_contoso.mailbox WHERE mailboxid = %s", [before, box]) == [(True,)],
          what=lambda: deployment.log().decode()[-3000:])
