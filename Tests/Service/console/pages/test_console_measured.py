"""Pages as the browser draws them: contrasts that axe does not measure, use with the keyboard alone, and bars that stay in place."""

import pytest
import test_console_pages
from selenium.webdriver.common.by import By
from console_browser import AXE, page_height, resize

console = test_console_pages.console
#: The minimum contrast of graphics (WCAG 2.2, 1.4.11), and of text (1.4.3).
GRAPHICS, TEXT = 3, 4.5

COLORS = """
const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
function rgba(color) {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = color; paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
}
function ground(e) {
    for (; e; e = e.parentElement) { const color = rgba(getComputedStyle(e).backgroundColor); if (color[3] === 255) return color; }
    return rgba(getComputedStyle(document.documentElement).colorScheme.includes("dark") ? "#000" : "#fff");
}
const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * (c[i] <= 10.31475 ? c[i] / 3294.6 : ((c[i] / 255 + 0.055) / 1.055) ** 2.4), 0);
function contrast(a, b) { const [one, two] = [light(a), light(b)].sort(); return (two + 0.05) / (one + 0.05); }
"""
# Measures the contrast to the background of chart bars, dots of badges and legends, signs of steps, field borders and placeholders.
CONTRASTS = COLORS + """
const seen = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden" && !e.closest("[hidden], .unseen, .skip");
const found = [], add = (kind, e, color, on) => found.push([kind, Math.round(contrast(rgba(color), on) * 100) / 100, e.outerHTML.slice(0, 90)]);
for (const bar of document.querySelectorAll("svg.chart rect:not(.track)")) {
    add("bar", bar, getComputedStyle(bar).fill, ground(bar.closest("svg").parentElement));
    const track = bar.parentElement.querySelector("rect.track");
    if (track && bar.parentElement.querySelectorAll("rect").length === 2) add("bar on its track", bar, getComputedStyle(bar).fill, rgba(getComputedStyle(track).fill));
}
for (const e of document.querySelectorAll(".badge, .legend li")) {
    const dot = getComputedStyle(e, "::before");
    if (seen(e) && dot.content !== "none" && rgba(dot.backgroundColor)[3]) add("dot", e, dot.backgroundColor, ground(e));
}
for (const e of document.querySelectorAll(".steps li")) {
    const sign = getComputedStyle(e, "::before");
    if (seen(e)) add("sign", e, sign.color, rgba(sign.backgroundColor));
}
for (const e of document.querySelectorAll("main input:not([type=hidden]):not([type=checkbox]):not([type=radio]), main select, main textarea")) {
    if (seen(e)) add("border", e, getComputedStyle(e).borderTopColor, ground(e.parentElement));
}
for (const e of document.querySelectorAll("main [placeholder]:not([placeholder=''])")) {
    if (seen(e)) add("placeholder", e, getComputedStyle(e, "::placeholder").color, ground(e));
}
return found;
"""


def test_what_axe_does_not_measure_has_contrast_too(console, browser):
    found, kinds = [], set()
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        for name, path in console.wanted.items():
            browser.get(f"{console.pages}/{path}")
            for kind, contrast, what in browser.execute_script(CONTRASTS):
                kinds.add(kind)
                if contrast < (TEXT if kind == "placeholder" else GRAPHICS):
                    found.append((name, scheme, kind, contrast, what))
    assert kinds == {"bar", "bar on its track", "dot", "sign", "border", "placeholder"}
    assert found == [], "\n".join(map(str, found))


# Measures the contrast of each text for which axe gives no result, such as a text around a field.
UNDECIDED = COLORS + """
const done = arguments[arguments.length - 1];
axe.run(document, {runOnly: ["color-contrast"]}).then((r) => done(r.incomplete.flatMap((rule) => rule.nodes.map((n) => {
    const e = document.querySelector(n.target[0]);
    return [Math.round(contrast(rgba(getComputedStyle(e).color), ground(e)) * 100) / 100, n.html.slice(0, 120)];
}))));
"""


def test_texts_that_axe_leaves_undecided_are_measured(console, browser):
    found, count = [], 0
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        for name, path in console.wanted.items():
            browser.get(f"{console.pages}/{path}")
            browser.execute_script(AXE)
            for contrast, what in browser.execute_async_script(UNDECIDED):
                count += 1
                if contrast < TEXT:
                    found.append((name, scheme, contrast, what))
    assert found == [] and count > 0, "\n".join(map(str, found))


def test_no_page_is_a_flood_on_a_phone(console, browser):
    resize(browser, 360, 640)
    for name in ("overview", "events", "audit"):
        browser.get(f"{console.pages}/{console.wanted[name]}")
        assert page_height(browser) < 9_000, name


def test_the_buttons_of_a_form_stay_in_the_window(console, browser):
    resize(browser, 1440, 900)
    found = 0
    for name, path in console.wanted.items():
        browser.get(f"{console.pages}/{path}")
        bars = browser.find_elements(By.CSS_SELECTOR, ".save")
        if not bars:
            continue
        found += 1
        assert browser.execute_script("return getComputedStyle(arguments[0]).position", bars[0]) == "sticky", name
        for place in ("0", "document.documentElement.scrollHeight / 3"):
            browser.execute_script(f"window.scrollTo(0, {place})")
            top, bottom = browser.execute_script("const box = arguments[0].getBoundingClientRect(); return [box.top, box.bottom]", bars[0])
            # The browser's positions can be fractions of a pixel, so the limit is a little more than the window's height.
            assert 0 <= top and bottom < 902, (name, place, top, bottom)
    assert found >= 8


# Marks the elements that the Tab key must reach, and returns their number. A group of radio buttons counts as one element.
STOPS = """
const seen = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden" && !e.closest("[hidden]") && !e.disabled;
const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")].filter((e) => {
    const closed = e.parentElement.closest("details:not([open])");
    return seen(e) && e.tabIndex >= 0 && !(closed && !(e.matches("summary") && e.parentElement === closed && !closed.parentElement.closest("details:not([open])")));
});
const groups = new Set();
all.filter((e) => {
    if (e.type !== "radio") return true;
    const group = [...document.getElementsByName(e.name)].filter((other) => other.form === e.form), chosen = group.find((other) => other.checked) || group[0];
    return e === chosen;
}).forEach((e, i) => e.dataset.stop = i);
return document.querySelectorAll("[data-stop]").length;
"""
STOP = """
const e = document.activeElement;
if (!e || e === document.body || e === document.documentElement) return null;
const style = getComputedStyle(e), box = e.getBoundingClientRect();
const middle = [Math.min(Math.max(box.left + Math.min(box.width / 2, 20), 0), innerWidth - 1), Math.min(Math.max(box.top + box.height / 2, 0), innerHeight - 1)];
const top = document.elementFromPoint(...middle);
const covered = top && !e.contains(top) && !top.contains(e) && top.closest(".save, .bar, .bulk-bar") && !e.closest(".save, .bar, .bulk-bar");
return [e.dataset.stop ?? null, (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || e.matches("iframe, .scroll"), Boolean(covered), e.outerHTML.slice(0, 120)];
"""


def press_tab(driver):
    for kind in ("rawKeyDown", "keyUp"):
        driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9})


def walked(driver):
    """Presses Tab from the beginning of the page to its end. Returns the elements that Tab missed, and the reached ones with a problem."""
    count = driver.execute_script(STOPS)
    # Begins at the top of the page, even if the page gives the focus to a field when it opens.
    driver.execute_script("document.body.tabIndex = -1; document.body.focus(); window.scrollTo(0, 0)")
    reached, wrong = [], []
    press_tab(driver)
    for _ in range(count * 2 + 20):
        stop = driver.execute_script(STOP)
        if stop is None or reached and stop[0] == reached[0]:
            break
        number, outlined, covered, what = stop
        if number is not None and number not in reached:
            reached.append(number)
        if not outlined or covered:
            wrong.append((what, "no outline" if not outlined else "covered"))
        press_tab(driver)
    missed = driver.execute_script("return [...document.querySelectorAll('[data-stop]')].filter((e) => !arguments[0].includes(e.dataset.stop)).map((e) => e.outerHTML.slice(0, 120))", reached)
    return missed, wrong


#: Pages with bars that could cover the focused element on a phone.
BARRED = ("mailbox", "mailbox-new", "mailboxes", "profile", "connect", "compose", "person-new", "overview")


@pytest.mark.parametrize("width", [1280, 360])
def test_every_page_is_worked_by_the_keyboard_alone(console, browser, width):
    """Tab must reach each link, field and button. Each must have an outline, and no bar may cover it."""
    found = []
    for name, path in console.wanted.items():
        if width < 600 and name not in BARRED:
            continue
        resize(browser, width, 800)
        browser.get(f"{console.pages}/{path}")
        missed, wrong = walked(browser)
        found += [(name, "missed", what) for what in missed] + [(name, *what) for what in wrong]
    assert found == [], "\n".join(map(str, found[:40])) + f"\n{len(found)} in all"
