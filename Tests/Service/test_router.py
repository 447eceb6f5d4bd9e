"""The e-mail router against real Dovecot and Postfix: messages become records, and records leave."""

import pytest
from mail import Mail, message, profile, queue, until
from service import Deployment


@pytest.fixture(scope="module")
def routed():
    deployment = Deployment()
    deployment.home.chmod(0o755)
    try:
        deployment.start()
        deployment.mail = Mail(deployment.home)
        yield deployment
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()


def enabled(deployment, box):
    """Waits until the router tested the mailbox and enabled it."""
    def look():
        record = deployment.get(f"mailboxes({box})?$select=incomingemailstatus,outgoingemailstatus,enabledforincomingemail,enabledforoutgoingemail,lastsyncerror").json()
        return record if record["enabledforincomingemail"] and record["enabledforoutgoingemail"] else None
    until(look, 60, lambda: deployment.get(f"mailboxes({box})").text + deployment.log().decode()[-3000:])


def emails(deployment, box, select="subject,description,messageid,statuscode,correlationmethod,attachmentcount,notifications"):
    return deployment.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select={select}&$orderby=createdon&$expand=email_activity_parties").json()["value"]


@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_a_message_becomes_a_record_and_a_record_is_sent(routed, kind):
    address = {"imap": "support@contoso.test", "pop3": "carol@contoso.test"}[kind]
    q, box = queue(routed, routed.mail, profile(routed, routed.mail, kind), address)
    enabled(routed, box)
    note = message(subject=f"Grüße über {kind}", to=address, body="Ein Päckchen kam nicht an.\n")
    note.add_attachment(b"\x00\x01picture", maintype="image", subtype="png", filename="bild.png")
    routed.mail.inject(address, note)
    [record] = until(lambda: emails(routed, box), 60, lambda: routed.log().decode()[-3000:])
    assert record["subject"] == f"Grüße über {kind}" and record["statuscode"] == 4 and "Päckchen" in record["description"]
    assert record["messageid"] == note["Message-ID"] and record["attachmentcount"] == 1
    assert {(p["participationtypemask"], p["addressused"]) for p in record["email_activity_parties"]} == {(1, "customer@elsewhere.test"), (2, address)}
    # An answer leaves, by a password that nobody saw, and the customer's reply to it finds its way back to it.
    id = routed.create("emails", {"subject": "Wo ist es?", "description": "<p>Wir schauen nach.</p>", "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
    sent = routed.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True})
    assert sent.status_code == 200, sent.text
    until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3, 60, lambda: routed.get(f"emails({id})").text + routed.log().decode()[-3000:])
    [arrived] = until(lambda: [m for m in routed.mail.messages("customer@elsewhere.test") if m["Subject"] == sent.json()["Subject"]])
    assert arrived["From"].endswith(f"<{address}>") and "Wir schauen nach." in arrived.get_content() and "CRM:" in arrived["Subject"]
    reply = message(subject=f"Re: {arrived['Subject']}", to=address, body="Danke!", In_Reply_To=arrived["Message-ID"])
    routed.mail.inject(address, reply)
    answered = until(lambda: [r for r in emails(routed, box, "subject,_parentactivityid_value,correlationmethod") if r["subject"].startswith("Re:")])
    assert answered[0]["_parentactivityid_value"] == id and answered[0]["correlationmethod"] == 3
    events = routed.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'credential released' AND outcome = 'succeeded' AND details LIKE %s", [f"%{box}%"])
    assert events[0][0] >= 3
    assert routed.mail.passwords[address].encode() not in routed.log()
