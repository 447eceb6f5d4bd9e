"""The list of people and clients who have access, the QR code and the recovery codes of the second factor, and the pages of each role."""

import datetime
import html
import re

from selenium.webdriver.common.by import By
from console_browser import chromium, press, sign_in
from one_time import one_time_password
from test_console_access import Visitor, password, person
from test_console_pages import modules


def row(page, name):
    """The cells of a person's or client's row, by column, and the time of the last sign-in."""
    [found] = [part for part in re.findall(r"(?s)<tr><td class=\"first\".*?</tr>", page) if f">{name}</a>" in part]
    cells = {label: re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", content))).strip() for label, content in re.findall(r'(?s)<td[^>]*data-label="([^"]*)"[^>]*>(.*?)</td>', found)}
    moment = re.search(r'<time datetime="([^"]*)"', found)
    return cells, moment and datetime.datetime.fromisoformat(moment[1])


def test_people_and_clients_are_listed_with_role_last_use_factor_and_state(console):
    person(console, "listed-hedy"), person(console, "listed-off", "Email Administrator"), person(console, "listed-sql")
    hedy = Visitor(console, "listed-hedy", password("listed-hedy"))
    offered = hedy.send("account/offer").text
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    assert len(re.findall(r"<li><code>", hedy.send("account/confirm", sealed=sealed, code=one_time_password(secret)).text)) == 10
    console.run("user", "disable", "listed-off")
    console.sql("UPDATE config.console_user SET role = 'System Administrator' WHERE name = 'listed-sql'")
    client = console.json("client", "add", "listed client", "--role", "Email Router")
    idle = console.json("client", "add", "listed idle", "--role", "Basic User")
    assert console.token_response(client["clientId"], client["clientSecret"]).status_code == 200
    now, page = datetime.datetime.now(datetime.UTC), Visitor(console).get("access").text
    cells, moment = row(page, "listed-hedy")
    assert cells == {"Name": "listed-hedy", "Role": "Basic User", "Last sign-in": cells["Last sign-in"], "Two-step sign-in": "on", "Status": "active"}, cells
    assert abs((now - moment).total_seconds()) < 120 and cells["Last sign-in"] != "none lately"
    cells, moment = row(page, "listed-off")
    assert cells == {"Name": "listed-off", "Role": "Email Administrator", "Last sign-in": "never", "Two-step sign-in": "off", "Status": "disabled"} and moment is None
    cells, _ = row(page, "listed-sql")
    assert cells["Status"] == "ignored: not created by Fieldseal", cells
    cells, moment = row(page, "listed client")
    assert cells == {"Name": "listed client", "Role": "Email Router", "Last sign-in": cells["Last sign-in"], "Client ID": client["clientId"], "Status": "active"}, cells
    assert abs((now - moment).total_seconds()) < 120
    assert row(page, "listed idle")[0]["Last sign-in"] == "never" and idle["clientId"] in row(page, "listed idle")[0]["Client ID"]


def test_the_smallest_role_is_selected_at_first(console):
    for path in ("access/people/new", "access/clients/new"):
        page = Visitor(console).get(path).text
        roles = re.findall(r'<input type="radio" name="role" value="([^"]*)"( checked)?>', page)
        assert [role for role, chosen in roles if chosen] == ["Basic User"] and len(roles) >= 3, (path, roles)


def test_a_second_factor_is_scanned_and_its_codes_are_printed(console):
    person(console, "scanning-ada")
    driver = chromium()
    try:
        sign_in(driver, console, then="account", person={"username": "scanning-ada", "password": password("scanning-ada")})
        press(driver, By.CSS_SELECTOR, "form[action$=offer] button")
        link = driver.find_element(By.CSS_SELECTOR, "a[href^='otpauth:']").get_attribute("href")
        secret = driver.find_element(By.CSS_SELECTOR, ".secret").text
        # The page shows the secret in groups of four, and the link has it without spaces.
        assert re.fullmatch(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", secret), secret
        assert f"secret={secret.replace(' ', '')}&" in link and link.startswith("otpauth://totp/Fieldseal%3Ascanning-ada%40contoso?")
        # The QR code equals the one that another encoder makes of the link.
        drawn = set(re.findall(r"M(\d+) (\d+)h1", driver.find_element(By.CSS_SELECTOR, ".qr path").get_attribute("d")))
        assert any(drawn == {(str(x + 4), str(y + 4)) for y, line in enumerate(modules(link, mask)) for x, dark in enumerate(line) if dark} for mask in range(8))
        driver.find_element(By.NAME, "code").send_keys(one_time_password(secret))
        press(driver, By.CSS_SELECTOR, "form[action$=confirm] button")
        codes = [code.text for code in driver.find_elements(By.CSS_SELECTOR, ".codes li")]
        assert len(codes) == 10 and all(driver.find_element(By.CSS_SELECTOR, selector).is_displayed() for selector in ("[data-prints]", "[data-copies='.codes']"))
        # The button prints the page.
        driver.execute_script("window.print = () => document.body.dataset.printed = 'yes'")
        driver.find_element(By.CSS_SELECTOR, "[data-prints]").click()
        assert driver.find_element(By.TAG_NAME, "body").get_attribute("data-printed") == "yes"
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        assert [code.text for code in driver.find_elements(By.CSS_SELECTOR, ".codes li")] == codes and all(codes)
        assert not driver.find_element(By.CSS_SELECTOR, "[data-prints]").is_displayed() and not driver.find_element(By.TAG_NAME, "nav").is_displayed()
    finally:
        driver.quit()


MAIL = ["Mailboxes", "Server profiles", "Queues", "User settings", "E-mails", "Alerts"]
GROUPS = {
    "System Administrator": [("", ["Overview"]), ("Mail", MAIL), ("Security", ["Data Encryption", "Second person", "Security events", "Changes"]),
                             ("Administration", ["Access", "Sign-in rules", "Retention"])],
    "Email Administrator": [("", ["Overview"]), ("Mail", [page for page in MAIL if page != "E-mails"])],
    "Basic User": [("", ["Overview"]), ("Mail", None)],
}


def test_the_pages_stand_in_groups_by_role(console):
    for role, wanted in GROUPS.items():
        name = f"grouped {role}"
        person(console, name, role)
        visitor = Visitor(console, name, password(name))
        nav = re.search(r"(?s)<nav .*?</nav>", visitor.get("overview").text)[0].partition('<div class="who">')[0]
        groups = [(html.unescape(group), [html.unescape(link) for link in re.findall(r"<a [^>]*data-key=[^>]*>([^<]*)</a>", links)])
                  for group, links in re.findall(r"(?s)(?:<h2>([^<]*)</h2>\s*)?<ul>(.*?)</ul>", nav)]
        assert [group for group, _ in groups] == [group for group, _ in wanted], (role, groups)
        for (group, links), (_, pages) in zip(groups, wanted, strict=True):
            assert links == pages or pages is None and links and set(links) < set(MAIL), (role, group, links)
        for path in re.findall(r'<a href="/contoso/([^"]*)" data-key', nav):
            page = visitor.get(path)
            assert page.status_code == 200 and page.text.count('aria-current="page"') >= 1, (role, path)
