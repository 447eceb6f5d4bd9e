"""Only an error in a mailbox's own settings disables it. After an error of a server, of the network or of the deployment, it continues."""

import socket
import ssl

import pytest
from mail import profile, queue
from mail_quirks import IMAPServer, POP3Server, SMTPServer
from test_router import Talker, expired, outgoing, tagged
from test_router_quirks import alerts, certificate, removed, served, subjects, text, turn
from waiting import until


def facts(routed, box, columns="enabledforincomingemail, incomingemailstatus, lastsyncerrorcode"):
    return routed.sql(f"SELECT {columns} FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0]


@pytest.mark.parametrize("kind, words", [
    (IMAPServer, b"NO [UNAVAILABLE] Temporary authentication failure."), (IMAPServer, b"NO [INUSE] locked by another session"),
    (IMAPServer, b"NO Server Unavailable. 15"), (IMAPServer, b"NO [ALERT] Too many simultaneous connections. (Failure)"),
    (POP3Server, b"-ERR [SYS/TEMP] the user database is away"), (POP3Server, b"-ERR [IN-USE] another session has the mailbox"),
    (POP3Server, b"-ERR [LOGIN-DELAY] wait a minute"),
])
def test_a_server_that_lets_nobody_in_for_now(routed, kind, words):
    server = kind(certificate(routed), {1: text(1)})
    server.sign_in = words
    box = served(routed, server)
    try:
        alert = until(lambda: (alerts(routed, box, 12) or [None])[0], what=lambda: routed.log().decode()[-3000:])
        assert "at the moment" in alert["text"] and "tries again" in alert["text"] and alert["level"] == 2
        assert facts(routed, box) == (True, 2, 12) and not alerts(routed, box, 10)
        server.sign_in = b""
        turn(routed, box)
        assert subjects(routed, box) == ["message 1"] and facts(routed, box) == (True, 1, None)
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("kind, words", [
    (IMAPServer, b"NO [AUTHENTICATIONFAILED] Invalid credentials"), (IMAPServer, b"NO LOGIN failed. Try again."), (POP3Server, b"-ERR [AUTH] wrong password"),
    (POP3Server, b"-ERR [SYS/PERM] the account is closed")])
def test_a_refusal_for_good_disables(routed, kind, words):
    server = kind(certificate(routed), {1: text(1)})
    server.sign_in = words
    box = served(routed, server)
    try:
        until(lambda: alerts(routed, box, 10), what=lambda: routed.log().decode()[-3000:])
        until(lambda: facts(routed, box) == (False, 2, 10))
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("words, code", [(b"454 4.7.0 Temporary authentication failure", 12), (b"421 4.3.2 Too many connections", 12), (b"535 5.7.8 Authentication failed", 10)])
def test_a_server_that_sends_for_nobody_for_now(routed, words, code):
    server = SMTPServer(certificate(routed))
    server.sign_in = words
    _, box = queue(routed, routed.mail, profile(routed, routed.mail, outgoingportnumber=server.port), testemailconfigurationscheduled=False)
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = true WHERE mailboxid = %s", [box])
    try:
        id = outgoing(routed, box, ["customer@elsewhere.test"], "waits")
        until(lambda: alerts(routed, box, code), what=lambda: routed.log().decode()[-3000:])
        until(lambda: facts(routed, box, "enabledforoutgoingemail, outgoingemailstatus") == (code == 12, 2))
        assert routed.get(f"emails({id})").json()["statuscode"] == 6 and not server.taken
        if code == 12:
            server.sign_in = b""
            routed.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = NULL, transientfailurecount = 0 WHERE mailboxid = %s", [box])
            routed.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = NULL WHERE activityid = %s", [id])
            until(lambda: routed.get(f"emails({id})").json()["statuscode"] == 3, what=lambda: routed.log().decode()[-3000:])
    finally:
        removed(routed, box)
        server.stop()


def test_ten_failures_of_a_server_ask_for_a_person_and_disable_nothing(routed):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        _, box = queue(routed, routed.mail, profile(routed, routed.mail, incomingportnumber=port), testemailconfigurationscheduled=False)
        # Sets the state of a mailbox after nine turns that failed.
        routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true, transientfailurecount = 9 WHERE mailboxid = %s", [box])
        turn(routed, box)
        assert facts(routed, box, "enabledforincomingemail, lastsyncerrorcode, transientfailurecount") == (True, 12, 10)
        # An earlier turn may have made an alert, so the newest one counts.
        assert alerts(routed, box, 12)[0]["level"] == 3
        [(wait,)] = routed.sql("SELECT extract(epoch FROM postponemailboxprocessinguntil - now()) FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
        assert 0 < wait <= 3_600
        turn(routed, box)
        assert facts(routed, box, "enabledforincomingemail, transientfailurecount") == (True, 11)
    removed(routed, box)


@pytest.mark.parametrize("manner", ["expired", "without TLS"])
def test_a_server_that_does_not_prove_itself_for_now(routed, tmp_path, manner):
    """The router sends no password to such a server, so it can safely try again."""
    past = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past.load_cert_chain(*expired(routed.mail.servers.folder, tmp_path))
    hello = (b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n", lambda d: b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tagged(d) + b" OK\r\n")
    refuse = (b"", lambda d: tagged(d) + b" BAD\r\n")
    talker = Talker([hello, refuse, refuse, refuse], tls=past if manner == "expired" else None)
    server = IMAPServer(certificate(routed), {1: text(1)})
    prof = profile(routed, routed.mail, incomingportnumber=talker.port)
    _, box = queue(routed, routed.mail, prof, testemailconfigurationscheduled=False)
    try:
        routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
        alert = until(lambda: (alerts(routed, box, 11) or [None])[0], what=lambda: routed.log().decode()[-3000:])
        assert alert["level"] == 3 and "tries again" in alert["text"] and "disabled" not in alert["text"]
        assert facts(routed, box) == (True, 2, 11) and b"AUTHENTICATE" not in talker.heard.upper()
        # Changes the profile to a server with a valid certificate.
        assert routed.request("PATCH", f"emailserverprofiles({prof})", {"incomingportnumber": server.port}).status_code == 204
        turn(routed, box)
        assert subjects(routed, box) == ["message 1"] and facts(routed, box) == (True, 1, None)
    finally:
        removed(routed, box)
        talker.stop()
        server.stop()


@pytest.mark.parametrize("status", [None, 2])
def test_a_turn_that_sends_nothing_says_nothing_about_sending(routed, status):
    server = IMAPServer(certificate(routed), {1: text(1)})
    box = served(routed, server)
    try:
        routed.sql(
            "UPDATE org_contoso.mailbox SET enabledforoutgoingemail = true, outgoingemaildeliverymethod = 2, outgoingemailstatus = %s WHERE mailboxid = %s",
            [status, box])
        turn(routed, box)
        assert facts(routed, box, "incomingemailstatus, outgoingemailstatus") == (1, status)
    finally:
        removed(routed, box)
        server.stop()
