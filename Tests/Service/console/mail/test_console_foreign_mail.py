"""When the console shows a mail, the reader's browser connects to no other server."""

import socket
import threading

import pytest
from console_browser import wait
from selenium.webdriver.common.by import By


class Listener:
    """Counts the connections to a port on this machine."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}/"
        self.connected = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        try:
            while True:
                self.socket.accept()[0].close()
                self.connected.set()
        except OSError:
            pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.close()


ELEMENTS = [
    "<link rel=preconnect href={a}>", "<link rel=dns-prefetch href={a}><link rel=prefetch href={a}><link rel=preload as=image href={a}>", "<iframe src={a}></iframe>",
    "<frameset><frame src={a}></frameset>", "<object data={a}></object>", "<embed src={a}>", "<base href={a}><img src=x>", "<meta http-equiv=refresh content='0;url={a}'>",
    "<svg><image href={a} /><use href={a}#x /></svg>", "<img src={a} srcset='{a} 2x'><picture><source srcset={a}><img></picture>", "<style>@import url({a});@font-face{{font-family:x;src:url({a})}}p{{font-family:x;background:url({a})}}</style>",
    "<p style='background-image:url({a})'>x</p>", "<body background={a}>", "<video src={a} poster={a} autoplay></video><audio src={a} autoplay></audio>", "<input type=image src={a}>",
    "<template><link rel=preconnect href={a}></template>", "<noscript><link rel=preconnect href={a}></noscript>", "<script src={a}></script>", "<link rel=stylesheet href={a}>",
]


@pytest.fixture(scope="module")
def email(console):
    return console.create("emails", {"subject": "foreign", "description": "x", "mimetype": "text/html"})


def show(console, browser, email, html):
    """Stores the HTML as the text of the e-mail, opens its page, and switches to the frame that shows the text."""
    console.sql("UPDATE org_contoso.email SET description = %s WHERE activityid = %s", [html, email])
    browser.get(f"{console.pages}/records/emails/{email}")
    browser.switch_to.frame(wait(browser, lambda d: d.find_element(By.CSS_SELECTOR, "iframe.mail")))


@pytest.mark.parametrize("element", ELEMENTS, ids=range(len(ELEMENTS)))
def test_mail_connects_to_no_other_server(console, browser, email, listener, element):
    html = f"<html><head>{element.format(a=listener.address)}</head><body>{element.format(a=listener.address)}<p>Hello</p></body></html>"
    show(console, browser, email, html)
    wait(browser, lambda d: "Hello" in d.find_element(By.TAG_NAME, "body").text)
    browser.switch_to.default_content()
    assert not listener.connected.wait(1)


def test_this_browser_would_connect(console, browser, listener):
    """The control: in a page without a Content-Security-Policy, the browser does connect to the listener."""
    for element in ELEMENTS[:3]:
        listener.connected.clear()
        browser.get("data:text/html," + element.format(a=listener.address))
        assert listener.connected.wait(20), element
    browser.get(f"{console.pages}/overview")


def test_layout_and_embedded_pictures_are_shown(console, browser, email):
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    html = f"<style>td{{color:rgb(1, 2, 3)}}</style><table><tr><td style='font-weight:700'>Grüße &amp; Küsse</td></tr></table><img src='{picture}'><a href='https://example.org/'>more</a>"
    show(console, browser, email, html)
    cell = wait(browser, lambda d: d.find_element(By.TAG_NAME, "td"))
    assert cell.text == "Grüße & Küsse" and cell.value_of_css_property("font-weight") == "700" and "1, 2, 3" in cell.value_of_css_property("color")
    assert wait(browser, lambda d: d.execute_script("return document.images[0].naturalWidth") == 1)
    assert browser.find_element(By.LINK_TEXT, "more").get_attribute("href") == "https://example.org/"
    browser.switch_to.default_content()


#: In Swift, a sign of HTML in these texts forms one character with the character before or after it.
INJECTIONS = ["\u0600<b id=injected>", "\u0600<link rel=preconnect href={a}>", "x\"\u0301 id=injected x=\"", "'\u0301 id=injected x='"]


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_names_and_plain_texts_become_no_elements(console, browser, email, listener, text):
    text = text.format(a=listener.address)
    box = console.create("mailboxes", {"name": text, "username": text})
    for page in (f"records/mailboxes/{box}", "records/mailboxes"):
        browser.get(f"{console.pages}/{page}")
        assert browser.find_elements(By.ID, "injected") == [] and browser.find_elements(By.CSS_SELECTOR, "link[rel=preconnect]") == []
    browser.get(f"{console.pages}/records/mailboxes/{box}")
    assert browser.find_element(By.NAME, "name").get_attribute("value") == text
    console.sql("UPDATE org_contoso.email SET mimetype = 'text/plain', subject = %s WHERE activityid = %s", [text, email])
    try:
        show(console, browser, email, text)
        assert browser.find_elements(By.ID, "injected") == [] and not listener.connected.wait(1)
        assert wait(browser, lambda d: d.find_element(By.TAG_NAME, "body").text.strip()) == text.strip()
        browser.switch_to.default_content()
        assert browser.find_elements(By.ID, "injected") == []
    finally:
        console.sql("UPDATE org_contoso.email SET mimetype = 'text/html' WHERE activityid = %s", [email])
