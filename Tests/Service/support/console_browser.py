"""Chromium for the console: starts it, signs in, presses buttons, and waits for pages."""

import pathlib
import time

import axe_core_python
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait
from service import PATIENCE

#: The seconds after which a click without a result is repeated. A busy browser sometimes loses a click.
CLICK_SECONDS = 60
AXE = (pathlib.Path(axe_core_python.__file__).parent / "axe.min.js").read_text()


def chromium(*arguments, script=True, scheme=None, width=1280, language="en"):
    options = webdriver.ChromeOptions()
    # The browser does not know the CA of development deployments, so it ignores certificate errors.
    for argument in ("--headless=new", "--no-sandbox", "--ignore-certificate-errors", "--disable-dev-shm-usage", f"--window-size={width},900", f"--lang={language}", *arguments):
        options.add_argument(argument)
    preferences = {"intl.accept_languages": language}
    if not script:
        preferences["profile.managed_default_content_settings.javascript"] = 2
    options.add_experimental_option("prefs", preferences)
    service = webdriver.ChromeService("/usr/bin/chromedriver")
    driver = webdriver.Chrome(options=options, service=service)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme or "light"}]})
    driver.implicitly_wait(3)
    return driver


def resize(driver, width, height=900):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})


def page_height(driver):
    return driver.execute_script("return document.documentElement.scrollHeight")


def sign_in(driver, console, then="", person=None):
    person = person or console.dev["console"]
    driver.get(f"{console.pages}/{then or 'overview'}")
    driver.find_element(By.NAME, "name").send_keys(person["username"])
    driver.find_element(By.NAME, "password").send_keys(person["password"])
    press(driver, By.CSS_SELECTOR, "main button")
    wait(driver, lambda d: "/sign-in" not in d.current_url)


def wait(driver, condition):
    return WebDriverWait(driver, PATIENCE, ignored_exceptions=[WebDriverException]).until(condition)


def press(driver, how, what):
    """Presses a button that sends a form, and waits for the next page. If the test sent another request before that, the browser would cancel the
    form."""
    before = driver.find_element(By.TAG_NAME, "html")
    deadline = time.monotonic() + PATIENCE
    while True:
        # The button that the Enter key presses is hidden, and a person can't press it.
        _click(driver, next(e for e in driver.find_elements(how, what) if e.get_attribute("aria-hidden") != "true"))
        try:
            return WebDriverWait(driver, CLICK_SECONDS, ignored_exceptions=[WebDriverException]).until(expected_conditions.staleness_of(before))
        except TimeoutException:
            assert time.monotonic() < deadline, f"no page answers {what}"


def click(driver, how, what):
    """Clicks an element, even if a bar at the top or bottom of the window covers it."""
    _click(driver, driver.find_element(how, what))


def _click(driver, element):
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def main(driver):
    return driver.find_element(By.TAG_NAME, "main").text


def says(driver, *texts):
    """Waits until the page contains all of these texts."""
    try:
        wait(driver, lambda d: all(text in main(d) for text in texts))
    except TimeoutException:
        raise AssertionError(f"{texts} is not in:\n{main(driver)}") from None


def confirm(driver, console):
    """If the page asks for the password, enters it."""
    if driver.find_elements(By.CSS_SELECTOR, "form[action$='/fresh']"):
        driver.find_element(By.NAME, "password").send_keys(console.dev["console"]["password"])
        press(driver, By.CSS_SELECTOR, "main button")


def violations(driver):
    """The violations that axe finds on the page."""
    driver.execute_script(AXE)
    found = driver.execute_async_script("const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(done)")
    return [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found["violations"]]


# JavaScript that finds elements wider than the page or their own box, divided words, and targets that are too small (WCAG 2.2, 2.5.8).
MEASURE = """
const found = [];
const wide = document.documentElement.scrollWidth, room = document.documentElement.clientWidth;
if (wide > room) found.push(`the page is ${wide - room} pixels too wide`);
const visible = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden" && !e.closest("[hidden], .unseen, .skip, .scroll");
for (const e of document.querySelectorAll("main *, header *, nav *")) {
    if (!visible(e)) continue;
    const box = e.getBoundingClientRect();
    if (box.width && (box.right > room + 1 || box.left < -1)) found.push(`sticks out: ${e.outerHTML.slice(0, 120)}`);
}
for (const e of document.querySelectorAll("main button, main .button, header .button, nav a, nav button, main select, main input:not([type=hidden])")) {
    if (!visible(e)) continue;
    const target = e.matches("[type=checkbox], [type=radio]") ? e.closest("label") || e : e;
    const box = target.getBoundingClientRect();
    if (box.height < 24 || box.width < 24) found.push(`a target of ${Math.round(box.width)} by ${Math.round(box.height)}: ${e.outerHTML.slice(0, 120)}`);
}
for (const e of document.querySelectorAll("h1, h2, h3, .badge, button, .button, th, label, nav a, dt, .cards td[data-label]")) {
    if (!visible(e) || e.closest("pre, code")) continue;
    for (const node of e.childNodes) {
        // An address has no place to break, and is broken anywhere rather than cut off.
        if (node.nodeType !== Node.TEXT_NODE || node.data.includes("@")) continue;
        for (const word of node.data.matchAll(/[\\p{L}\\p{N}]{2,}/gu)) {
            if (word[0].length > 24) continue;
            const range = document.createRange();
            // Behind a soft hyphen a word begins with what is drawn of the hyphen, at the end of the line before.
            range.setStart(node, word.index + (node.data[word.index - 1] === "\u00ad" ? 1 : 0)); range.setEnd(node, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].filter((r) => r.width > 0).map((r) => Math.round(r.top)));
            if (lines.size > 1 && [...lines].some((one) => [...lines].some((other) => Math.abs(one - other) > 8))) found.push(`the word ${word[0]} is broken: ${e.outerHTML.slice(0, 100)}`);
        }
    }
}
return found;
"""


def measured(driver):
    """The problems that MEASURE finds on the page."""
    return driver.execute_script(MEASURE)
