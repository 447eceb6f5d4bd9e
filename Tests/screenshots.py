#!/usr/bin/env python3
"""Takes screenshots of every page of the console, in both schemes and at the widths of a phone, a tablet and a desk.

    Tests/screenshots.py [--readme] [--only PAGE] [--widths 360,1280] [--language de]

The pages belong to a throwaway deployment with sample records. The pictures are written to .fieldseal/screenshots/; with --readme, those
that the documentation shows are written to docs/images/ too.
"""

import argparse
import datetime
import json
import os
import pathlib
import random
import re
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests/Service" / name) for name in ("servers", "support")]

import requests  # noqa: E402
from console_browser import chromium, confirm, page_height, press, sign_in  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from service import Deployment  # noqa: E402

FOLDER = ROOT / ".fieldseal/screenshots"
IMAGES = ROOT / "docs/images"
# What the documentation shows: by page, the picture's name and its scheme.
README = {"overview": ("console-overview", "light"), "encryption": ("console-encryption", "light"), "mailbox": ("console-records", "dark")}
PEOPLE = [
    "Ada Lovelace", "Grace Hopper", "Katherine Johnson", "Alan Turing", "Dorothy Vaughan", "Edsger Dijkstra", "Barbara Liskov",
    "Donald Knuth", "Frances Allen", "Niklaus Wirth", "Radia Perlman", "Tony Hoare", "Margaret Hamilton", "John Backus", "Jean Bartik",
    "Ken Thompson", "Annie Easley", "Dennis Ritchie", "Hedy Lamarr", "Tim Berners-Lee"]
TEAMS = ["Support", "Sales", "Billing", "Press", "Jobs", "Orders", "Returns", "Warehouse", "Training", "Partners"]


def populate(deployment):
    """Sample records: profiles, mailboxes in every state, queues, e-mails, alerts, people and clients. Returns ids by kind."""
    profiles = [
        deployment.create("emailserverprofiles", {
            "name": name, "servertype": 4, "incomingserverlocation": incoming, "incomingportnumber": 993, "outgoingserverlocation": outgoing,
            "outgoingportnumber": 587, "incomingcredentialretrieval": 0, "outgoingcredentialretrieval": 0})
        for name, incoming, outgoing in [
            ("IONOS", "imap.ionos.de", "smtp.ionos.de"), ("Google Workspace", "imap.gmail.com", "smtp.gmail.com"),
            ("Own servers", "imap.contoso.example", "smtp.contoso.example")]]
    boxes = []
    for index, person in enumerate(PEOPLE):
        address = f"{person.lower().replace(' ', '.')}@contoso.example"
        values = {
            "username": address, "password": f"sample-{index}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profiles[index % 3]})",
            "emailrouteraccessapproval": 0 if index % 9 == 8 else 1, "allowemailconnectortousecredentials": True}
        if index:
            boxes.append(deployment.create("mailboxes", {"name": person, "emailaddress": address, **values}))
            continue
        # The first one is a queue's.
        own = deployment.create("queues", {"name": person, "emailaddress": address})
        boxes.append(deployment.get(f"queues({own})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"])
        deployment.request("PATCH", f"mailboxes({boxes[0]})", values)
    queues = [deployment.create("queues", {"name": team, "emailaddress": f"{team.lower()}@contoso.example"}) for team in TEAMS]
    deployment.sql("""
        UPDATE org_contoso.mailbox SET incomingemailstatus = 1, outgoingemailstatus = 1, lastsuccessfulsynccompletedon = now() - interval '3 minutes',
               itemsprocessedforlastsync = 4, testmailboxaccesscompletedon = now() - interval '40 days' WHERE emailrouteraccessapproval = 1""")
    # These servers are not there: no router may ask them.
    deployment.sql("""
        UPDATE org_contoso.mailbox SET incomingemaildeliverymethod = 2, outgoingemaildeliverymethod = 2,
               postponemailboxprocessinguntil = now() + interval '1 day' WHERE emailserverprofile IS NOT NULL""")
    failing = boxes[3]
    deployment.sql("""
        UPDATE org_contoso.mailbox SET incomingemailstatus = 2, outgoingemailstatus = 1, lastsuccessfulsynccompletedon = now() - interval '2 hours', transientfailurecount = 3,
               lastsyncerror = 'imap.ionos.de refuses the user name or the password of the mailbox alan.turing@contoso.example. Set the password again.'
         WHERE mailboxid = %s""", [failing])
    deployment.sql("""
        INSERT INTO org_contoso.tracelog (tracelogid, regardingobjectid, regardingobjecttypecode, level, tracecode, text, errordetails, createdon, modifiedon)
        SELECT gen_random_uuid(), %s, 'mailbox', 3, 10, 'imap.ionos.de refuses the user name or the password of the mailbox alan.turing@contoso.example. Set the password again.',
               'NO [AUTHENTICATIONFAILED]', now() - interval '2 hours', now() - interval '3 minutes'""", [failing])
    incoming = exchange_emails(deployment, boxes)
    [(failed,)] = deployment.sql("""
        INSERT INTO org_contoso.email (activityid, subject, description, mimetype, directioncode, statuscode, statecode, createdon, sendermailboxid, failure)
        VALUES (gen_random_uuid(), 'Delivery times', '<p>Hello</p>', 'text/html', true, 8, 0, now() - interval '2 days', %s, '550 5.1.1 no such user') RETURNING activityid::text""", [boxes[2]])
    for name, role in [("grace", "Email Administrator"), ("katherine", "Basic User"), ("alan", "Basic User")]:
        deployment.run("user", "add", name, "--role", role, stdin="a password of theirs\n")
    deployment.run("user", "disable", "alan")
    # One queue is a team's.
    [(grace,)] = deployment.sql("SELECT systemuserid::text FROM org_contoso.systemuser WHERE fullname = 'grace'")
    team = deployment.create("teams", {"name": "Front desk"})
    deployment.request("POST", f"teams({team})/teammembership_association/$ref", {"@odata.id": f"{deployment.api}/systemusers({grace})"})
    deployment.request("PATCH", f"queues({queues[1]})", {"ownerid@odata.bind": f"/teams({team})"})
    deployment.request("PATCH", f"mailboxes({boxes[0]})", {"password": "another-sample", "name": "Ada King"})
    deployment.set_key("A-first-key-of-samples-7!")
    return {"mailbox": boxes[0], "failing": failing, "profile": profiles[0], "queue": queues[0], "shared": queues[1],
            "failed": failed, "email": incoming}


def exchange_emails(deployment, boxes):
    """A day's e-mails in both directions; returns the id of the first that came in."""
    dice = random.Random(4)
    emails = []
    for index in range(90):
        incoming = dice.random() < 0.65
        hours = min(23.5, abs(dice.gauss(9, 5)))
        sender = dice.choice(["mia@example.org", "noah@example.com", "lena@example.net"])
        subject = dice.choice(["Invoice 2026-114", "Question about my order", "Delivery date", "Thank you!", "Password reset", "New address"])
        [(id,)] = deployment.sql("""
            INSERT INTO org_contoso.email (activityid, subject, description, directioncode, statuscode, statecode, sender, torecipients, createdon, senton, receivingmailboxid)
            VALUES (gen_random_uuid(), %s, %s, %s, %s, 1, %s, %s, now() - %s * interval '1 hour', now() - %s * interval '1 hour', %s) RETURNING activityid""", [
            subject, "<p>Hello,</p><p>could you tell me when my order arrives? Thank you very much.</p><p>Best regards</p>", not incoming, 4 if incoming else 3,
            sender if incoming else "support@contoso.example", "support@contoso.example" if incoming else sender, hours, hours, boxes[index % 5]])
        emails.append((incoming, str(id)))
    return next(id for incoming, id in emails if incoming)


def invitation(deployment, person):
    """The token of a link with which a person chooses a password."""
    session = requests.Session()
    session.verify, session.trust_env = deployment.dev["caFile"], False
    session.headers["Origin"] = deployment.dev["baseURL"]
    root, own = f"{deployment.dev['baseURL']}/contoso", deployment.dev["console"]
    page = session.post(f"{root}/sign-in", {"name": own["username"], "password": own["password"]}).text
    csrf = re.search(r'name="csrf" value="(\w+)"', page)[1]
    return re.search(r"token=([\w-]+)", session.post(f"{root}/access/invite-user", {"csrf": csrf, "id": person}).text)[1]


def pages(deployment, ids):
    """Every page by its name."""
    [(person,), (invited,)] = deployment.sql("SELECT user_id::text FROM config.console_user WHERE name IN ('grace', 'katherine') ORDER BY name")
    [(client,)] = deployment.sql("SELECT client_id::text FROM config.api_client ORDER BY name LIMIT 1")
    [(alert,)] = deployment.sql("SELECT tracelogid::text FROM org_contoso.tracelog LIMIT 1")
    [(user,)] = deployment.sql("SELECT systemuserid::text FROM org_contoso.systemuser ORDER BY fullname LIMIT 1")
    return {
        "invitation": f"invitation?token={invitation(deployment, invited)}", "person-invited": f"access/people/{invited}", "sign-in-rules": "access/rules", "approvals": "settings/approvals", "retention": "retention",
        "person-remove": f"access/people/{person}/remove", "client-disable": f"access/clients/{client}/disable", "client-remove": f"access/clients/{client}/remove",
        "overview": "overview", "encryption": "settings/data-encryption", "key-change": "settings/data-encryption/change",
        "events": "events", "audit": "audit", "mailboxes": "records/mailboxes", "mailboxes-failing": "records/mailboxes?status=failing",
        "mailbox": f"records/mailboxes/{ids['mailbox']}", "mailbox-failing": f"records/mailboxes/{ids['failing']}",
        "mailbox-new": "records/mailboxes/new", "mailbox-delete": f"records/mailboxes/{ids['mailbox']}/delete",
        "connect": "connect?provider=ionos", "profiles": "records/emailserverprofiles", "profile": f"records/emailserverprofiles/{ids['profile']}",
        "queues": "records/queues", "queue": f"records/queues/{ids['queue']}", "queue-team": f"records/queues/{ids['shared']}", "users": "records/usersettingscollection",
        "user": f"records/usersettingscollection/{user}", "emails": "records/emails", "email": f"records/emails/{ids['email']}",
        "reply": f"records/emails/{ids['email']}/reply", "reply-all": f"records/emails/{ids['email']}/reply-all", "forward": f"records/emails/{ids['email']}/forward", "compose": "compose",
        "email-failed": f"records/emails/{ids['failed']}", "email-again": f"records/emails/{ids['failed']}/again",
        "emails-filtered": "records/emails?f.directioncode=false&f.createdon=within-24h", "shortcuts": "shortcuts", "alerts": "records/tracelogs", "alert": f"records/tracelogs/{alert}",
        "nothing-found": "records/queues?q=nothing-like-this", "access": "access", "person": f"access/people/{person}",
        "person-new": "access/people/new", "person-reset": f"access/people/{person}/reset", "person-disable": f"access/people/{person}/disable", "client": f"access/clients/{client}",
        "client-new": "access/clients/new", "account": "account", "missing": "nothing-here",
    }


def shoot(driver, name, width, scheme, limit=2400):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    height = max(640, min(limit, page_height(driver)))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    driver.save_screenshot(str(FOLDER / f"{name}-{scheme}-{width}.png"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--widths", default="360,768,1280")
    parser.add_argument("--schemes", default="light,dark")
    parser.add_argument("--language", default="en")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    deployment = Deployment()
    driver = router = None
    try:
        deployment.start()
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        # The mail servers of the samples are not there: what a router found of them would change the pages.
        router = deployment.router_pid()
        os.kill(router, signal.SIGSTOP)
        ids = populate(deployment)
        driver = chromium(language=options.language)
        wanted = pages(deployment, ids)
        for scheme in options.schemes.split(","):
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            driver.delete_all_cookies()
            driver.get(f"{deployment.pages}/sign-in")
            if not options.only:
                for width in map(int, options.widths.split(",")):
                    shoot(driver, "sign-in", width, scheme)
            sign_in(driver, deployment)
            for name, path in wanted.items():
                if options.only and name not in options.only.split(","):
                    continue
                # The router that waits still counts as one that runs.
                deployment.sql("INSERT INTO org_contoso.mail_router (router) VALUES ('mail-1') ON CONFLICT (router) DO UPDATE SET seen_on = now()")
                driver.get(f"{deployment.pages}/{path}")
                for width in map(int, options.widths.split(",")):
                    shoot(driver, name, width, scheme)
                if options.readme and README.get(name, ("", ""))[1] == scheme:
                    shoot(driver, name, 1280, scheme, limit=1000)
                    (IMAGES / f"{README[name][0]}.png").write_bytes((FOLDER / f"{name}-{scheme}-1280.png").read_bytes())
            if not options.only or "sheet" in options.only:
                driver.get(f"{deployment.pages}/settings/data-encryption")
                press(driver, By.CSS_SELECTOR, "button[name=sheet][value='1']")
                confirm(driver, deployment)
                for width in map(int, options.widths.split(",")):
                    shoot(driver, "sheet", width, scheme)
        print(json.dumps({"screenshots": len(list(FOLDER.glob("*.png"))), "folder": str(FOLDER.relative_to(ROOT)), "at": f"{datetime.datetime.now():%H:%M}"}))
    finally:
        if driver:
            driver.quit()
        if router:
            os.kill(router, signal.SIGCONT)
        deployment.remove()


if __name__ == "__main__":
    main()
