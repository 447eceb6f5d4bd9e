"""Finds the forms of a page, and the fields that a browser would send."""

import base64
import hashlib
import html
import re


class Form:
    """A form with the method POST."""

    def __init__(self, action, attributes, content):
        self.action, self.attributes, self.content = html.unescape(action), attributes, content

    @property
    def fields(self):
        """The fields and their present values, without the CSRF token."""
        fields = {}
        for tag in re.findall(r"<input\b[^>]*>", self.content):
            attributes = attributes_of(tag)
            if "name" in attributes and (attributes.get("type") not in ("radio", "checkbox") or re.search(r"\schecked\b", tag)):
                fields[attributes["name"]] = attributes.get("value", "")
        for head, options in re.findall(r"(?s)(<select\b[^>]*>)(.*?)</select>", self.content):
            chosen = re.findall(r'<option value="([^"]*)" selected', options) or re.findall(r'<option value="([^"]*)"', options)
            fields[attributes_of(head)["name"]] = html.unescape(chosen[0])
        for head, value in re.findall(r"(?s)(<textarea\b[^>]*>)(.*?)</textarea>", self.content):
            fields[attributes_of(head)["name"]] = html.unescape(value)
        return {name: value for name, value in fields.items() if name != "csrf"}

    @property
    def buttons(self):
        """The name and the value of each button that sends the form. A button without them has empty texts."""
        found = [attributes_of(tag) for tag in re.findall(r"<button\b[^>]*>", self.content)]
        return [(button.get("name", ""), button.get("value", "")) for button in found if button.get("type") != "button"]


def attributes_of(tag):
    return {name: html.unescape(value) for name, value in re.findall(r'([\w!.-]+)="([^"]*)"', tag)}


def forms(page):
    """Every form of the page with the method POST. A button outside of a form that sends it to another address counts as another form."""
    found = [Form(*found) for found in re.findall(r'(?s)<form method="post" action="([^"]*)"([^>]*)>(.*?)</form>', page)]
    return found + [other for form in found for other in elsewhere(page, form)]


def elsewhere(page, form):
    """For each address to which a button outside of the form sends it: the form with that address."""
    tags = [tag for tag in re.findall(r"<(?:button|input)\b[^>]*>", page) if (id := attributes_of(tag).get("form")) and id == attributes_of(form.attributes).get("id")]
    hidden = "".join(tag for tag in tags if tag.startswith("<input"))
    for action in dict.fromkeys(attributes_of(tag).get("formaction", "") for tag in tags if "formaction=" in tag):
        buttons = "".join(tag for tag in tags if attributes_of(tag).get("formaction") == action)
        yield Form(action, "", re.sub(r"<button\b[^>]*>", "", form.content) + hidden + buttons)


def form(page, action, **wanted):
    """The first form whose action ends with this text, and whose fields have these values."""
    found = [form for form in forms(page) if form.action.endswith(action) and wanted.items() <= form.fields.items()]
    assert found, (action, [form.action for form in forms(page)])
    return found[0]


def answer_of(page, name="confirmed"):
    """The value of the field with which a question is confirmed. It depends on the subject of the question."""
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', page)[1])


def subject(*parts):
    """The value with which a question about this subject is confirmed, computed from the parts of the subject."""
    told = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return base64.urlsafe_b64encode(hashlib.sha256(told).digest()).rstrip(b"=").decode()
