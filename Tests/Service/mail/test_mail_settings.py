"""Servers, ports and names that a router or a terminal can't use are refused by name."""

import pytest


@pytest.fixture(scope="module")
def records(service):
    profile = service.create("emailserverprofiles", {"name": "settings", "servertype": 4, "incomingserverlocation": "imap.test"})
    queue = service.create("queues", {"name": "settings", "emailaddress": "settings@contoso.test"})
    box = service.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    yield {"emailserverprofiles": profile, "queues": queue, "mailboxes": box}
    for path in (f"queues({queue})", f"emailserverprofiles({profile})"):
        assert service.request("DELETE", path).status_code == 204


@pytest.mark.parametrize("attribute", ["incomingserverlocation", "outgoingserverlocation"])
@pytest.mark.parametrize("value", ["a b", "https://mail.test", "user@mail.test", "mail.test:993", " mail.test ", "mail.test\r\n", "mäil.test", "..."])
def test_a_server_that_can_be_none_is_refused(service, records, attribute, value):
    response = service.request("PATCH", f"emailserverprofiles({records['emailserverprofiles']})", {attribute: value})
    assert response.status_code == 400 and attribute in response.text, response.text


@pytest.mark.parametrize("value", ["mail.test", "mail", "192.0.2.1", "2001:db8::1", "xn--mil-pla.test", "mail_1.test."])
def test_a_server_is_a_name_or_an_address(service, records, value):
    assert service.request("PATCH", f"emailserverprofiles({records['emailserverprofiles']})", {"incomingserverlocation": value}).status_code == 204


@pytest.mark.parametrize("attribute", ["incomingportnumber", "outgoingportnumber"])
@pytest.mark.parametrize("value", [0, -1, 65_536])
def test_a_port_that_can_be_none_is_refused(service, records, attribute, value):
    response = service.request("PATCH", f"emailserverprofiles({records['emailserverprofiles']})", {attribute: value})
    assert response.status_code == 400 and attribute in response.text and "1 to 65535" in response.text, response.text


@pytest.mark.parametrize("set", ["mailboxes", "queues", "emailserverprofiles"])
@pytest.mark.parametrize("name", ["bob\x1b[2J", "bob\r\nfake line", "bob\x85x", "bob\u2028x", "\x7f"])
def test_a_record_s_name_is_kept_as_it_is_and_shown_on_one_line(service, records, set, name):
    before = service.get(f"{set}({records[set]})").json()["name"]
    assert service.request("PATCH", f"{set}({records[set]})", {"name": name}).status_code == 204
    assert service.get(f"{set}({records[set]})").json()["name"] == name
    shown = service.run("router", "status", "--all").stdout
    assert "\x1b" not in shown and "fake line\n" not in shown and "\u2028" not in shown
    assert service.request("PATCH", f"{set}({records[set]})", {"name": before}).status_code == 204


@pytest.mark.parametrize("name", ["c\x1b[31m\nfake", "x\x7f", "\u2028"])
def test_clients_and_people_have_names_of_one_line(service, name):
    for command in (["client", "add", name, "--org", "contoso", "--role", "Basic User"], ["user", "add", name, "--org", "contoso", "--role", "System Administrator"]):
        done = service.run(*command, check=False, stdin="correct horse battery staple\n")
        assert done.returncode != 0 and "\x1b" not in done.stdout + done.stderr, done


def test_names_of_earlier_versions_do_not_reach_a_terminal(service, records):
    service.sql("UPDATE org_contoso.mailbox SET name = E'bob\\x1b[2J\\r\\nfake line' WHERE mailboxid = %s", [records["mailboxes"]])
    shown = service.run("router", "status", "--all").stdout
    assert "bob" in shown and "\x1b" not in shown and "\nfake line" not in shown
