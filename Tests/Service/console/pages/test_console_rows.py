"""Rows of lists, exports and questions: no text is cut, no value is empty, and records with the same name can be told apart."""

import pytest
from console_browser import resize
from selenium.webdriver.common.by import By
from test_console_access import Visitor, text


@pytest.mark.parametrize(("set", "name"), [("usersettingscollection", "usersettings"), ("tracelogs", "alerts"), ("mailboxes", "mailboxes")])
def test_an_exported_list_has_the_name_of_what_it_has(console, set, name):
    answer = Visitor(console).get(f"records/{set}/export.csv")
    assert f'filename="contoso-{name}.csv"' in answer.headers["Content-Disposition"]


def test_questions_about_mailboxes_of_one_name_name_their_addresses(console):
    visitor = Visitor(console)
    boxes = {console.create("mailboxes", {"name": "Twin", "emailaddress": address}): address for address in ("twin-1@contoso.test", "twin-2@contoso.test")}
    [(profile,)] = console.sql("SELECT name FROM org_contoso.emailserverprofile LIMIT 1")
    for action in ("disable", "profile"):
        asked = visitor.send("records/mailboxes/bulk", do=action, profile=profile, **{f"id.{id}": "Twin" for id in boxes})
        assert all(f"Twin <{address}>" in asked.text.replace("&lt;", "<").replace("&gt;", ">") for address in boxes.values()), text(asked)


def test_a_short_list_of_events_or_changes_ends_with_its_last_line(console):
    visitor = Visitor(console)
    for page in ("events?kind=client+added", "audit?operation=1&from=2001-01-01&until=2001-01-02"):
        assert 'class="pages"' not in visitor.get(page).text, page


@pytest.fixture
def email(console):
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, torecipients, createdon) VALUES "
        "(gen_random_uuid(), 'waiting', true, 6, 1, 'customer@elsewhere.test', 'first-person@elsewhere.test;second-person@elsewhere.test', now()) RETURNING activityid::text")
    return id


def test_a_long_state_does_not_run_into_the_time(console, browser, email):
    resize(browser, 390)
    browser.get(f"{console.pages}/records/emails")
    right, left, end = browser.execute_script("""
        const badge = document.querySelector("td.mark .badge");
        badge.textContent = "Wartet noch auf Versand";
        const time = badge.closest("tr").querySelector("td.when").getBoundingClientRect();
        return [badge.getBoundingClientRect().right, time.left, time.right];
        """)
    assert right <= left and end <= 390


@pytest.mark.parametrize("width", [1280, 1440])
def test_a_sender_is_on_one_line(console, browser, email, width):
    resize(browser, width)
    browser.get(f"{console.pages}/records/emails")
    lines = browser.execute_script("""
        const cell = [...document.querySelectorAll("td[data-label=From]")].find((e) => e.textContent === "customer@elsewhere.test");
        const range = document.createRange();
        range.selectNodeContents(cell);
        return new Set([...range.getClientRects()].map((r) => Math.round(r.top))).size;
        """)
    assert lines == 1


def test_the_kind_of_events_has_a_whole_line_on_a_phone(console, browser):
    resize(browser, 390)
    browser.get(f"{console.pages}/events")
    field, form = (browser.find_element(By.CSS_SELECTOR, css).rect for css in ("select[name=kind]", "form.filters"))
    assert field["width"] >= form["width"] - 2
    # The last field is as wide as the form if no other field is beside it.
    assert browser.find_element(By.NAME, "record").rect["width"] >= form["width"] - 2
