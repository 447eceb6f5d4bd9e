"""A router without work sends almost no requests, and notices new mail, new e-mails and changes within seconds."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from mail import Mail, message, profile
from mail_quirks import IdlingServer, POP3Server
from service import PROGRAM, Deployment, refused
from waiting import until

#: A polling interval longer than any test, so that no test passes because of polling.
NEVER = "86400"


@pytest.fixture(scope="module")
def quiet():
    """A deployment whose own router is stopped. The port of the service stays the same after a restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    deployment = Deployment(FIELDSEAL_HTTPS_PORT=str(port))
    deployment.home.chmod(0o755)
    try:
        deployment.start()
        end_companion(deployment)
        deployment.mail = Mail(deployment.home)
        yield deployment
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()


def end_companion(deployment, mark=0):
    """Waits until the deployment's own router runs, and kills it."""
    until(lambda: b"router started" in deployment.log()[mark:], what=lambda: deployment.log().decode()[-2000:])
    pid = deployment.router_pid()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not pathlib.Path(f"/proc/{pid}").exists())
    deployment.sql("DELETE FROM org_contoso.mail_router")


class RouterProcess:
    def __init__(self, deployment, *arguments, interval=NEVER):
        self.process = subprocess.Popen([PROGRAM, "router", "--interval", interval, *arguments], env=deployment.environment,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=deployment.output)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0


@pytest.fixture
def idling(quiet):
    servers = []

    def start(*arguments, kind=IdlingServer, **more):
        servers.append(kind(quiet.mail.servers.folder / "server", *arguments, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
    # Deletes the mailboxes, so that the router of a later test does not work on them.
    quiet.sql("DELETE FROM org_contoso.mailbox")


def mailbox(deployment, prof, user="support", password="a-password-1", **more):
    """A mailbox that belongs to no user or queue, and only receives."""
    body = {"name": user, "emailaddress": f"{user}@contoso.test", "username": user, "password": password, "allowemailconnectortousecredentials": True,
            "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 0, "emailrouteraccessapproval": 1,
            "emailserverprofile@odata.bind": f"/emailserverprofiles({prof})", **more}
    box = deployment.create("mailboxes", body)
    return box


def own_profile(deployment, server, **more):
    kind = "pop3" if isinstance(server, POP3Server) else "imap"
    return profile(deployment, deployment.mail, kind, incomingportnumber=server.port, **more)


def text(subject):
    return f"From: customer@elsewhere.test\r\nTo: support@contoso.test\r\nSubject: {subject}\r\nMessage-ID: <{subject}@elsewhere.test>\r\n\r\nText.\r\n".encode()


def subjects(deployment, box):
    return sorted(s for (s,) in deployment.sql("SELECT subject FROM org_contoso.email WHERE receivingmailboxid = %s", [box]))


def asked(deployment, mark=0):
    """The names of the requests that routers sent, from the service's log after a position."""
    lines = [json.loads(line) for line in deployment.log()[mark:].decode().splitlines() if line.startswith("{") and '"request"' in line]
    lines = [line.get("metadata", line) for line in lines]
    return [line["path"].rsplit("/", 1)[-1] for line in lines if "fieldseal." in line.get("path", "") or line.get("path", "").endswith("/token")]


#: SQL: the number of turns of all mailboxes that no router watches, and the number of these mailboxes.
POLLED = """SELECT coalesce(sum(processedtimes), 0)::integer, count(*)::integer FROM org_contoso.mailbox AS m
             WHERE mailboxid = ANY (%s::uuid[]) AND NOT EXISTS (SELECT FROM org_contoso.mailbox_watch AS w WHERE w.mailboxid = m.mailboxid)"""


def why(deployment):
    return lambda: deployment.log().decode()[-4000:]


# Idle routers send few requests


def test_an_idle_router_with_a_hundred_mailboxes_asks_for_little(quiet, idling):
    server = idling()
    prof = own_profile(quiet, server)
    for number in range(100):
        mailbox(quiet, prof, f"user{number}")
    with RouterProcess(quiet):
        until(lambda: len(server.idling) == 100, what=why(quiet))
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mailbox WHERE processingstatecode = 1") == [(0,)])
        mark, start = len(quiet.log()), time.monotonic()
        until(lambda: time.monotonic() - start > 24)
        # Two requests in 24 seconds are five a minute.
        assert len(asked(quiet, mark)) <= 2, asked(quiet, mark)
        # The router signed in once for each mailbox, and all connections are still open.
        assert len(server.users) == 100 and len(server.idling) == 100
    # A router that stops tells the service, so that other routers can watch its mailboxes.
    assert quiet.sql("SELECT (SELECT count(*) FROM org_contoso.mail_router), (SELECT count(*) FROM org_contoso.mailbox_watch)") == [(0, 0)]


def test_mailboxes_that_only_send_are_not_polled(quiet, idling):
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server), incomingemaildeliverymethod=0, outgoingemaildeliverymethod=2)
    with RouterProcess(quiet, interval="1"):
        until(lambda: "fieldseal.WaitForWork" in asked(quiet))
        start = time.monotonic()
        until(lambda: time.monotonic() - start > 4)
        assert quiet.sql("SELECT coalesce(processedtimes, 0) FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)]


# Noticing new mail, new e-mails and changes


def test_mail_arrives_within_seconds(quiet, idling):
    """One mailbox is on Dovecot, which supports IDLE, and one on a server of this test."""
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server))
    address = "support@contoso.test"
    real = mailbox(quiet, profile(quiet, quiet.mail), "support", quiet.mail.passwords[address])
    with RouterProcess(quiet):
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mailbox_watch WHERE mailboxid = ANY (%s::uuid[])", [[box, real]]) == [(2,)], what=why(quiet))
        for number in (1, 2, 3):
            server.deliver(number, text(f"arrives-{number}"))
            until(lambda: f"arrives-{number}" in subjects(quiet, box), what=why(quiet))
        quiet.mail.inject(address, message(subject="by Dovecot", to=address))
        until(lambda: "by Dovecot" in subjects(quiet, real), what=why(quiet))
        # For three messages, the router signed in once. For Dovecot, the service released the password once.
        assert server.connections <= 2 and len(server.users) == 1
        released = "SELECT count(*) FROM org_contoso.security_event WHERE kind = 'credential released' AND details LIKE %s"
        assert quiet.sql(released, [f"%{real}%"]) == [(1,)]


def test_a_message_that_is_announced_with_the_answer_to_idle_is_fetched(quiet, idling):
    """The router reads the announcement together with the server's response to IDLE. No further data arrives to wake it."""
    server = idling()
    server.sudden = 1, text("announced with the answer")
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet):
        until(lambda: "announced with the answer" in subjects(quiet, box), what=why(quiet))


def test_a_new_email_leaves_within_two_seconds(quiet, idling):
    """The router sends without waiting for the next poll, or for the incoming server of the mailbox."""
    address = "support@contoso.test"
    q = quiet.create("queues", {"name": f"queue {time.monotonic_ns()}", "emailaddress": address})
    box = quiet.get(f"queues({q})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    body = {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile(quiet, quiet.mail)})", "username": "support", "password": quiet.mail.passwords[address],
            "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2, "emailrouteraccessapproval": 1,
            "testemailconfigurationscheduled": True}
    with RouterProcess(quiet):
        until(lambda: "fieldseal.WaitForWork" in asked(quiet))
        # The router does a requested test at once, and then fetches mail.
        assert quiet.request("PATCH", f"mailboxes({box})", body).status_code == 204
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mailbox_watch WHERE mailboxid = %s", [box]) == [(1,)], what=why(quiet))
        took = []
        for number in range(4):
            id = quiet.create("emails", {"subject": f"prompt {number}", "email_activity_parties": [
                {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
            start = time.monotonic()
            assert quiet.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True}).status_code == 200
            until(lambda: quiet.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3, what=why(quiet))
            took.append(time.monotonic() - start)
        # The fastest attempt counts, because the machine can be busy during the others.
        assert min(took) < 2, took
        # The router still watches the mailbox: sending did not end the connection that waits for mail.
        assert quiet.sql("SELECT count(*) FROM org_contoso.mailbox_watch WHERE mailboxid = %s", [box]) == [(1,)]
        # An e-mail with a later sending time is sent at that time, although the polling interval is a day.
        later = quiet.create("emails", {"subject": "later", "delayedemailsendtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 4)), "email_activity_parties": [
            {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
        assert quiet.request("POST", f"emails({later})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True}).status_code == 200
        until(lambda: quiet.get(f"emails({later})?$select=statuscode").json()["statuscode"] == 3, what=why(quiet))
        assert quiet.sql("SELECT senton >= delayedemailsendtime FROM org_contoso.email WHERE activityid = %s", [later]) == [(True,)]


@pytest.mark.parametrize("change", ["password", "disabled", "approval", "profile", "deleted"])
def test_changes_of_a_watched_mailbox_are_noticed(quiet, idling, change):
    server = idling()
    prof = own_profile(quiet, server)
    box = mailbox(quiet, prof)
    with RouterProcess(quiet):
        until(lambda: server.idling == ["support"], what=why(quiet))
        sign_ins = len(server.users)
        if change == "password":
            assert quiet.request("PATCH", f"mailboxes({box})", {"password": "another-password-2"}).status_code == 204
            # The router signed in again with the new password.
            until(lambda: server.users[sign_ins:] == [("support", "another-password-2")] and server.idling == ["support"], what=why(quiet))
        elif change == "disabled":
            quiet.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = false WHERE mailboxid = %s", [box])
            until(lambda: not server.idling, what=why(quiet))
            assert len(server.users) == sign_ins
            assert quiet.request("PATCH", f"mailboxes({box})", {"enabledforincomingemail": True}).status_code == 204
            until(lambda: server.idling == ["support"], what=why(quiet))
        elif change == "approval":
            assert quiet.request("PATCH", f"mailboxes({box})", {"emailrouteraccessapproval": 3}).status_code == 204
            until(lambda: not server.idling, what=why(quiet))
        elif change == "profile":
            other = idling()
            assert quiet.request("PATCH", f"emailserverprofiles({prof})", {"incomingportnumber": other.port}).status_code == 204
            until(lambda: not server.idling and other.idling == ["support"], what=why(quiet))
        else:
            assert quiet.request("DELETE", f"mailboxes({box})").status_code == 204
            until(lambda: not server.idling, what=why(quiet))
            assert quiet.sql("SELECT count(*) FROM org_contoso.mailbox_watch") == [(0,)]


def test_a_key_change_leaves_connections_alone(quiet, idling):
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet):
        until(lambda: server.idling == ["support"], what=why(quiet))
        assert quiet.set_key("A-key-while-idling-1!").status_code == 204
        server.deliver(1, text("after-the-key"))
        until(lambda: "after-the-key" in subjects(quiet, box), what=why(quiet))
        assert len(server.users) == 1


# Crashes


def test_another_router_takes_over_what_a_dead_one_watched(quiet, idling):
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server))
    first = RouterProcess(quiet)
    until(lambda: server.idling == ["support"], what=why(quiet))
    with RouterProcess(quiet, interval="5"):
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mail_router") == [(2,)])
        # While the first router runs, the second router does not get the mailbox. No router holds its lease.
        assert quiet.sql("SELECT processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)]
        first.process.kill()
        first.process.wait()
        server.deliver(1, text("after-the-death"))
        until(lambda: "after-the-death" in subjects(quiet, box), what=why(quiet))
        until(lambda: server.idling == ["support"], what=why(quiet))
    assert len(server.users) == 2


def test_the_service_restarts_and_notices_are_lost(quiet, idling):
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet):
        until(lambda: server.idling == ["support"], what=why(quiet))
        # Ends the database connection on which the service listens for notifications. The service opens another, and notices changes again.
        listeners = "SELECT pid FROM pg_stat_activity WHERE application_name = 'fieldseal notices'"
        [(pid,)] = quiet.sql(listeners)
        quiet.sql("SELECT pg_terminate_backend(%s)", [pid])
        until(lambda: (found := quiet.sql(listeners)) and found != [(pid,)])
        quiet.request("PATCH", f"mailboxes({box})", {"password": "after-the-cut-2"})
        until(lambda: ("support", "after-the-cut-2") in server.users and server.idling == ["support"], what=why(quiet))
        # The service stops at once, although a router's request waits. The router asks again later, and keeps its connections to mail servers.
        sign_ins = len(server.users)
        start = time.monotonic()
        quiet.stop()
        assert time.monotonic() - start < 30
        mark = len(quiet.log())
        quiet.start()
        end_companion(quiet, mark)
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mailbox_watch") == [(1,)], what=why(quiet))
        server.deliver(1, text("after-the-restart"))
        until(lambda: "after-the-restart" in subjects(quiet, box), what=why(quiet))
        assert len(server.users) == sign_ins


# Servers


@pytest.mark.parametrize("manner", ["drops", "refuses", "ends", "goodbye"])
def test_servers_that_do_not_let_connections_wait_are_polled(quiet, idling, manner):
    server = idling(manner=manner)
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet, interval="3"):
        until(lambda: server.idles >= 1, what=why(quiet))
        server.deliver(1, text("polled"))
        until(lambda: "polled" in subjects(quiet, box), what=why(quiet))
        [(before,)] = quiet.sql("SELECT processedtimes FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
        until(lambda: quiet.sql("SELECT processedtimes FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0][0] >= before + 2, what=why(quiet))
        # The router does not send IDLE again to a server that does not support it.
        assert server.idles <= 2
        assert quiet.sql("SELECT lastsyncerror FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(None,)]


def test_idle_is_issued_anew(quiet, idling):
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet, "--idle-refresh", "1"):
        until(lambda: server.idles >= 2, what=why(quiet))
        assert len(server.users) == 1
        server.deliver(1, text("between"))
        until(lambda: "between" in subjects(quiet, box), what=why(quiet))
        assert len(server.users) == 1
    bad = quiet.run("router", "--idle-refresh", "1800", check=False)
    assert bad.returncode and "--idle-refresh 1 to 1740" in bad.stderr


def test_a_server_that_announces_nothing_is_asked(quiet, idling):
    """Some servers accept IDLE and announce nothing. Between two IDLE commands, the router asks for the newest message."""
    server = idling()
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet, "--idle-refresh", "1"):
        until(lambda: server.idles >= 1, what=why(quiet))
        with server.lock:
            server.messages[1] = text("unannounced")
        until(lambda: "unannounced" in subjects(quiet, box), what=why(quiet))
        # After the turn, the router waits on the same connection. Without new mail, it has no further turn.
        before = server.idles
        until(lambda: server.idles > before, what=why(quiet))
        [(turns,)] = quiet.sql("SELECT processedtimes FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
        before = server.idles
        until(lambda: server.idles >= before + 2, what=why(quiet))
        assert len(server.users) == 1
        assert quiet.sql("SELECT processedtimes FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(turns,)]


def test_connections_are_limited(quiet, idling):
    """The profile's limit also counts connections that wait. At most half of the limit may wait, so that turns are possible."""
    server = idling()
    prof = own_profile(quiet, server, maxconcurrentconnections=4)
    boxes = [mailbox(quiet, prof, f"limited{n}") for n in range(5)]

    def turns():
        columns = "name, processedtimes, enabledforincomingemail, lastsyncerror, transientfailurecount, postponemailboxprocessinguntil - now()"
        return f"{quiet.sql(f'SELECT {columns} FROM org_contoso.mailbox')} {quiet.sql('SELECT * FROM org_contoso.mailbox_watch')} {why(quiet)()}"

    with RouterProcess(quiet, "--workers", "1", interval="2"):
        until(lambda: len(server.idling) == 2, what=turns)
        [before] = quiet.sql(POLLED, [boxes])
        until(lambda: quiet.sql(POLLED, [boxes])[0][0] >= before[0] + 6, what=turns)
        # In the end, two connections wait, and three mailboxes are polled. A polled mailbox may also issue IDLE, until the service tells it to stop.
        until(lambda: len(server.idling) == 2 and quiet.sql(POLLED, [boxes])[0][1] == 3, what=turns)
        # Polled mailboxes also receive their mail.
        server.deliver(1, text("limited"))
        until(lambda: all("limited" in subjects(quiet, box) for box in boxes), what=turns)
    with RouterProcess(quiet, "--idle-connections", "0", interval="1"):
        until(lambda: not server.idling)
        before = server.idles
        until(lambda: quiet.sql("SELECT min(processedtimes) >= 4 FROM org_contoso.mailbox WHERE mailboxid = ANY (%s::uuid[])", [boxes]) == [(True,)], what=why(quiet))
        assert server.idles == before


@pytest.mark.parametrize("setting", ["enable_hashjoin", "enable_mergejoin", "enable_nestloop"])
def test_a_lease_is_of_one_mailbox_whatever_the_plan(quiet, idling, setting):
    """PostgreSQL believes that the table has one row. So it may plan to look for a due mailbox again for each row that it visits."""
    prof = own_profile(quiet, idling())
    boxes = [mailbox(quiet, prof, "one")]
    quiet.sql("VACUUM ANALYZE org_contoso.mailbox")
    quiet.sql(f"ALTER ROLE fieldseal_service SET {setting} = off")
    try:
        quiet.sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND application_name = 'fieldseal'")
        boxes += [mailbox(quiet, prof, f"one{n}") for n in range(3)]
        for count in (1, 2, 3):
            lease = quiet.request("POST", "fieldseal.LeaseMailbox", {"HostId": f"h{count}"}, client="router").json()
            assert lease["MailboxId"] in boxes
            # Counts only these mailboxes, because the router of an earlier test may have left a lease.
            leased = "SELECT count(*) FROM org_contoso.mailbox WHERE processingstatecode = 1 AND mailboxid = ANY (%s::uuid[])"
            assert quiet.sql(leased, [boxes]) == [(count,)]
    finally:
        quiet.sql(f"ALTER ROLE fieldseal_service RESET {setting}")


def test_a_server_that_allows_a_user_few_connections_disables_no_mailbox(quiet, idling):
    server = idling()
    prof = own_profile(quiet, server)
    first = mailbox(quiet, prof, "shared")
    with RouterProcess(quiet):
        until(lambda: server.idling == ["shared"], what=why(quiet))
        server.refused.add("shared")
        second = mailbox(quiet, prof, "shared")
        until(lambda: quiet.sql("SELECT lastsyncerrorcode, enabledforincomingemail FROM org_contoso.mailbox WHERE mailboxid = %s", [second]) == [(12, True)], what=why(quiet))
        # The router ends the connection that waits, because the server allows this user no second one.
        until(lambda: not server.idling, what=why(quiet))
    assert quiet.sql("SELECT enabledforincomingemail FROM org_contoso.mailbox WHERE mailboxid = %s", [first]) == [(True,)]


def test_pop3_is_polled(quiet, idling):
    server = idling({1: text("pop-1")}, kind=POP3Server)
    box = mailbox(quiet, own_profile(quiet, server))
    with RouterProcess(quiet, interval="2"):
        until(lambda: "pop-1" in subjects(quiet, box), what=why(quiet))
        server.messages[2] = text("pop-2")
        until(lambda: "pop-2" in subjects(quiet, box), what=why(quiet))


# The request for work


def wait(deployment, client="router", **body):
    body = {"HostId": "a test", "Seconds": 0, "WantsWork": True, "Watching": [], "IsLeaving": False, **body}
    return deployment.request("POST", "fieldseal.WaitForWork", body, client=client)


def test_the_request_for_work_is_checked(quiet, idling):
    assert wait(quiet).json() == {"Due": 0, "Ended": []}
    for client in ("admin", "user"):
        refused(wait(quiet, client), 403, "0x80040220")
    missing = "00000000-0000-4000-8000-000000000000"
    for body in ({"Seconds": 51}, {"Seconds": -1}, {"Seconds": "1"}, {"WantsWork": 1}, {"Watching": [{"MailboxId": "x", "Revision": ""}]}, {"Watching": [{"MailboxId": missing}]},
                 {"Watching": 1}, {"HostId": ""}, {"HostId": "x" * 161}, {"Watching": [{"MailboxId": missing, "Revision": "x"}] * 5_001}):
        refused(wait(quiet, **body), 400, "0x80048D19")
    # The router must stop watching a mailbox that does not exist.
    assert wait(quiet, Watching=[{"MailboxId": missing, "Revision": "x"}]).json() == {"Due": 0, "Ended": [missing]}
    batch = {"requests": [{"id": "1", "method": "POST", "url": "fieldseal.WaitForWork", "headers": {"Content-Type": "application/json"},
                           "body": {"HostId": "x", "Seconds": 5, "WantsWork": True, "Watching": [], "IsLeaving": False}}]}
    answer = quiet.request("POST", "$batch", batch, client="router", Content_Type="application/json")
    assert "can't be part of a batch" in answer.text
    # A router can ask for the lease of one mailbox by its id.
    box = mailbox(quiet, own_profile(quiet, idling()))
    refused(quiet.request("POST", "fieldseal.LeaseMailbox", {"HostId": "x", "MailboxId": "y"}, client="router"), 400, "0x80048D19")
    assert quiet.request("POST", "fieldseal.LeaseMailbox", {"HostId": "x", "MailboxId": missing}, client="router").status_code == 204
    lease = quiet.request("POST", "fieldseal.LeaseMailbox", {"HostId": "x", "MailboxId": box}, client="router").json()
    assert lease["MailboxId"] == box and lease["Receives"] and not lease["Sends"] and lease["Revision"]
    assert quiet.request("POST", "fieldseal.LeaseMailbox", {"HostId": "y", "MailboxId": box}, client="router").status_code == 204
    # A router that never asked for work may not watch a mailbox.
    report = {"HostId": "x", "MailboxId": box, "IncomingIsWell": True, "Watcher": "nobody", "Revision": lease["Revision"]}
    assert quiet.request("POST", "fieldseal.ReportMailbox", report, client="router").json() == {"MayWatch": False}
    wait(quiet, IsLeaving=True)


def test_waiting_requests_hold_up_nobody(quiet, idling):
    """140 requests wait: more than the pool has connections, and more than one client may have in progress."""
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(wait(quiet, HostId=f"waits {n}", Seconds=50))) for n in range(140)]
    for thread in threads:
        thread.start()
    until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mail_router WHERE router LIKE 'waits %%'") == [(140,)])
    # The service answers other requests of the same client and of another client.
    for client in ("router", "admin"):
        assert quiet.get("WhoAmI", client=client).status_code == 200
    idle = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND state <> 'idle'"
    until(lambda: quiet.sql(idle) == [(0,)])
    # One notification from PostgreSQL wakes all waiting requests.
    start = time.monotonic()
    mailbox(quiet, own_profile(quiet, idling()))
    for thread in threads:
        thread.join(180)
    assert [a.json()["Due"] for a in answers] == [1] * 140 and time.monotonic() - start < 40
    quiet.sql("DELETE FROM org_contoso.mail_router; DELETE FROM org_contoso.mailbox_watch")


# The status of routers and mailboxes


def test_status_has_problems_first_and_one_line_for_the_rest(quiet, idling):
    server = idling({1: text("there"), 2: text("refused")}, kind=IdlingServer)
    server.quirk = "no"
    prof = own_profile(quiet, server)
    aside = mailbox(quiet, prof, "aside")
    healthy_server = idling()
    healthy = [mailbox(quiet, own_profile(quiet, healthy_server), f"well{n}") for n in range(3)]
    with RouterProcess(quiet):
        until(lambda: len(healthy_server.idling) == 3, what=why(quiet))
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mailbox_message WHERE mailboxid = %s", [aside]) == [(1,)], what=why(quiet))
        until(lambda: quiet.sql("SELECT count(*) FROM org_contoso.mailbox_watch") == [(4,)], what=why(quiet))
        lines = [json.loads(line) for line in quiet.run("router", "status", "--org", "contoso", "--json").stdout.splitlines()]
        assert lines[0]["mailboxId"] == aside and lines[0]["hasProblem"] and lines[0]["setAside"] == 1
        [shown] = lines[0]["messages"]
        assert shown["uid"] == "7:2" and shown["messageId"] == "<refused@elsewhere.test>" and "not available" in shown["reason"] and shown["attempts"] == 1
        assert shown["nextAttempt"] > shown["since"]
        by_id = {line["mailboxId"]: line for line in lines}
        for box in healthy:
            assert by_id[box]["watchedBy"] and not by_id[box]["hasProblem"] and by_id[box]["lastSync"]
        text_ = quiet.run("router", "status", "--org", "contoso").stdout
        assert "aside <aside@contoso.test>" in text_ and "set aside: 7:2, Message-ID <refused@elsewhere.test>" in text_ and "well0 <" not in text_
        assert re.search(r"3 without problems, 3 of them watched", text_), text_
        assert re.search(r"Running routers: \S+ since \S+, watching 4\.", text_), text_
        assert "well0 <" in quiet.run("router", "status", "--org", "contoso", "--all").stdout
    # If no router runs, a mailbox that has been due for more than ten minutes is a problem.
    quiet.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = now() - interval '11 minutes' WHERE mailboxid = %s", [healthy[0]])
    text_ = quiet.run("router", "status", "--org", "contoso").stdout
    assert "No router has looked at it since it was due." in text_ and text_.splitlines()[-2].startswith("No router is running, so no mail is fetched or sent.")
