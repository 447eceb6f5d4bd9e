"""After an action on mailboxes, the page shows its result. A question names its mailboxes, and cancelling it keeps what was chosen."""

import re

import pytest
from html_forms import form, forms
from test_console_access import Visitor, text


@pytest.fixture(scope="module")
def profile(console):
    return console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")[0][0]


def box(console, profile, name, **more):
    settings = {"name": name, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", **more}
    return console.create("mailboxes", settings)


def approval(console, id):
    return console.sql("SELECT coalesce(emailrouteraccessapproval, 0) FROM org_contoso.mailbox WHERE mailboxid = %s", [id])[0][0]


def test_a_test_ends_at_its_result_with_a_link_to_look_again(console, profile):
    id = box(console, profile, "results tested", emailaddress="tested@contoso.example", emailrouteraccessapproval=1)
    admin = Visitor(console)
    done = admin.send(f"records/mailboxes/{id}/do", do="test")
    assert done.url.endswith("?done=testing#status-title"), done.url
    # The address of the page moves the focus to this heading, so the heading must be able to have it.
    assert re.search(r'<h2 id="status-title" tabindex="-1">', done.text)
    [section] = re.findall(r'(?s)<section class="card" id="status".*?</section>', done.text)
    assert "data-live" in section
    [script] = re.findall(r"(?s)<noscript>(.*?)</noscript>", section)
    assert '<a class="button small" href="">Reload</a>' in script


def test_a_test_run_of_a_key_change_ends_at_its_figures(console):
    admin = Visitor(console)
    page = admin.get("settings/data-encryption/change")
    [button] = re.findall(r'<button name="do" value="rehearse"([^>]*)>', page.text)
    assert 'formaction="/contoso/settings/data-encryption/change#figures"' in button
    done = admin.send("settings/data-encryption/change", do="rehearse", **form(page.text, "/change").fields)
    assert '<h2 id="figures" tabindex="-1">' in done.text, text(done)


def test_cancel_keeps_the_ticks_and_the_profile(console, profile):
    [(name,)] = console.sql("SELECT name FROM org_contoso.emailserverprofile WHERE emailserverprofileid = %s", [profile])
    boxes = [console.create("mailboxes", {"name": f"results ticked {number}"}) for number in range(2)]
    admin = Visitor(console)
    asked = admin.send("records/mailboxes/bulk", do="profile", profile=name, returns="/contoso/records/mailboxes?q=results+ticked",
                       **{f"id.{id}": "x" for id in boxes})
    [question] = [found for found in forms(asked.text) if found.action.endswith("/bulk")]
    assert ("cancel", "1") in question.buttons
    back = admin.send("records/mailboxes/bulk", **question.fields, cancel="1")
    assert "q=results" in back.url and 'class="notice"' not in back.text and 'class="problem"' not in back.text
    assert sorted(re.findall(r'name="id\.([0-9a-f-]{36})" value="[^"]*" checked', back.text)) == sorted(boxes)
    assert re.search(rf'name="profile" value="{re.escape(name)}"', back.text)
    assert console.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name LIKE 'results ticked%' AND emailserverprofile IS NOT NULL") == [(0,)]
    # After the question before mailboxes are disabled, Cancel also keeps the ticks.
    asked = admin.send("records/mailboxes/bulk", do="disable", returns="/contoso/records/mailboxes?q=results+ticked", **{f"id.{boxes[0]}": "x"})
    back = admin.send("records/mailboxes/bulk", **[found for found in forms(asked.text) if found.action.endswith("/bulk")][0].fields, cancel="1")
    assert re.findall(r'name="id\.([0-9a-f-]{36})" value="[^"]*" checked', back.text) == [boxes[0]]
    # A name of no profile stays in the field, so that the person can correct it.
    wrong = admin.send("records/mailboxes/bulk", do="profile", profile="no such profile", returns="/contoso/records/mailboxes", **{f"id.{boxes[0]}": "x"})
    assert 'name="profile" value="no such profile"' in wrong.text


def test_approving_one_mailbox_asks_and_names_it(console, profile):
    id = box(console, profile, "results asked", emailaddress="asked@contoso.example")
    admin = Visitor(console)
    asked = admin.send(f"records/mailboxes/{id}/do", do="approve")
    assert "Approve asked@contoso.example for the mailbox results asked?" in text(asked) and approval(console, id) == 0
    fields = form(asked.text, f"/records/mailboxes/{id}/do", do="approve").fields
    [answer] = re.findall(r'name="confirmed" value="([^"]+)"', asked.text)
    # The confirmation is valid only for the address in the question. Here, the address changes after the question.
    assert console.request("PATCH", f"mailboxes({id})", {"emailaddress": "changed@contoso.example"}).status_code == 204
    again = admin.send(f"records/mailboxes/{id}/do", **fields, confirmed=answer)
    assert "Approve changed@contoso.example" in text(again) and approval(console, id) == 0
    [answer] = re.findall(r'name="confirmed" value="([^"]+)"', again.text)
    done = admin.send(f"records/mailboxes/{id}/do", **fields, confirmed=answer)
    assert done.url.endswith("?done=approved#status-title") and approval(console, id) == 1


def test_a_known_sender_has_the_name_that_was_sent(console):
    """The list and the page show the name and address from the message. The e-mail's record has the name of the user."""
    console.create("systemusers", {"fullname": "Known In Here", "domainname": "CONTOSO\\known", "internalemailaddress": "known@contoso.example"})
    queue = console.create("queues", {"name": "results desk", "emailaddress": "results-desk@contoso.example", "incomingemailfilteringmethod": 0})
    [(box,)] = console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjectid = %s", [queue])
    message = {"MailboxId": box, "To": "results-desk@contoso.example", "Body": "b", "MessageId": ""}

    def delivered(subject, sender, **more):
        answer = console.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", {**message, "Subject": subject, "From": sender, **more})
        assert answer.status_code == 200 and answer.json()["ShouldDeliver"], answer.text
        return answer.json()["EmailId"]

    admin = Visitor(console)
    named = delivered("results named", "Another Name <known@contoso.example>", ReplyTo=["answers@elsewhere.test"])
    bare = delivered("results bare", "known@contoso.example")
    assert "From Another Name <known@contoso.example> To" in text(admin.get(f"records/emails/{named}"))
    assert "answers@elsewhere.test" in text(admin.get(f"records/emails/{named}"))
    assert "From known@contoso.example To" in text(admin.get(f"records/emails/{bare}"))
    cells = re.findall(r'(?s)<td class="[^"]*" data-label="From">(.*?)</td>', admin.get("records/emails?q=results&sort=subject").text)
    assert [re.sub(r"<[^>]*>", "", cell.replace("<br>", " ")) for cell in cells] == ["Known In Here known@contoso.example", "Another Name known@contoso.example"], cells
    assert console.sql("SELECT DISTINCT emailsendername FROM org_contoso.email WHERE activityid IN (%s, %s)", [named, bare]) == [("Known In Here",)]
