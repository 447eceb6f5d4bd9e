"""POP3 servers whose unique ids violate RFC 1939. No message is skipped because of that."""

import pytest
from mail_quirks import POP3Server
from test_router_quirks import alerts, certificate, removed, served, subjects, text, turn
from waiting import until


class LongIDs(POP3Server):
    """A POP3 server whose unique ids are long file names. RFC 1939 allows at most 70 characters."""

    @staticmethod
    def name(uid):
        return b"%d." % uid + b"M123456P7890V0000000000000801I0000000000A1B2C3.mail-store-17.elsewhere.test,S=2048,W=2099"


class EqualIDs(POP3Server):
    """A POP3 server that gives the same id to all messages."""

    @staticmethod
    def name(uid):
        return b"always-the-same"


class NoID(POP3Server):
    """A POP3 server without an id for its second message."""

    @staticmethod
    def name(uid):
        return b"" if uid == 2 else b"unique-%d" % uid


class BlankIDs(POP3Server):
    """A POP3 server that writes a tab before an id and spaces after it."""

    @staticmethod
    def name(uid):
        return b"\tunique-%d  " % uid


class NoSizes(POP3Server):
    """A POP3 server whose list has no sizes, and no id for the second message."""

    def sized(self, uid):
        return b""

    @staticmethod
    def name(uid):
        return b"" if uid == 2 else b"unique-%d" % uid


@pytest.mark.parametrize("kind", [LongIDs, EqualIDs, BlankIDs])
def test_messages_are_told_apart(routed, kind):
    server = kind(certificate(routed), {n: text(n) for n in (1, 2, 3)})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["message 1", "message 2", "message 3"], what=lambda: routed.log().decode()[-3000:])
        # The new message has the same size as the other messages.
        server.messages[4] = text(4)
        turn(routed, box)
        assert subjects(routed, box) == [f"message {n}" for n in (1, 2, 3, 4)] and not alerts(routed, box)
        # The router does not fetch a message again that is a record already.
        before = len([c for c in server.commands if c.startswith("RETR")])
        turn(routed, box)
        assert len([c for c in server.commands if c.startswith("RETR")]) == before
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("kind", [NoID, NoSizes])
def test_a_message_without_an_id_is_named(routed, kind):
    server = kind(certificate(routed), {n: text(n) for n in (1, 2, 3)})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["message 1", "message 3"] and alerts(routed, box), what=lambda: routed.log().decode()[-3000:])
        [alert] = alerts(routed, box)
        assert "no unique id (UIDL): number 2." in alert["text"] and "support@contoso.test" in alert["text"]
        # A further turn makes no second alert, and receives the new message.
        server.messages[4] = text(4)
        turn(routed, box)
        assert subjects(routed, box) == ["message 1", "message 3", "message 4"] and len(alerts(routed, box)) == 1
    finally:
        removed(routed, box)
        server.stop()
