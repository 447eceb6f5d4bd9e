"""The reader beside another one: 2,400 generated messages, read by Python's `email` under the policy that is stated here.

| what | policy |
| --- | --- |
| subject, file names | Python's, which decodes RFC 2047 and RFC 2231; blanks at the ends do not count |
| sender, recipients | the addresses of `email.headerregistry` |
| text | each text part without a file name, outside of alternatives, is in the body; of an alternative, the last HTML, else the last plain text; in HTML, plain text is escaped |
| files | every part with a file name, and every part that is no text; the bytes are Python's `get_payload(decode=True)` |
"""

import base64
import email
import email.policy
import html
import json
import pathlib
import quopri
import subprocess
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from random import Random

import pytest

PROBE = pathlib.Path(__file__).parents[2] / ".build/debug/MessageProbe"
COUNT = 2_400
WORDS = {
    "us-ascii": "the quick brown fox jumps over the lazy dog 12345 price: 5 = five",
    "iso-8859-1": "Grüße aus Köln, café à la crème, Ärger & Öl ½ £",
    "iso-8859-15": "5 € für Œuvre žluťoučký"[:14],
    "windows-1252": "„Straße“ – 5 € … “quoted” ™",
    "windows-1251": "Заказ номер двенадцать готов к выдаче",
    "koi8-r": "Привет из Москвы и Петербурга",
    "iso-8859-7": "Η παραγγελία σας είναι έτοιμη",
    "iso-8859-2": "Příliš žluťoučký kůň úpěl",
    "iso-8859-9": "İstanbul'dan selamlar şğı",
    "shift_jis": "こんにちは世界、ご注文",
    "euc-jp": "ありがとうございます、山田",
    "iso-2022-jp": "会議の資料を送ります",
    "gb2312": "您好，订单已经发货",
    "gbk": "您好，镕喆的订单",
    "gb18030": "您好，𠮷野家的订单",
    "big5": "您好，訂單已經出貨",
    "euc-kr": "안녕하세요 주문하신",
    "utf-8": "naïve 日本語 Ελληνικά русский 🎂 end",
    "utf-16": "wide words ünd söme",
    "utf-7": "seven bits ünd söme",
}


class Generator:
    def __init__(self, seed):
        self.random = Random(seed)
        self.files = 0

    def text(self, charset):
        words = WORDS[charset].split()
        return " ".join(self.random.choice(words) for _ in range(self.random.randint(1, 12)))

    def header(self, charset):
        """A header's text, and how it is written."""
        text = self.text(charset)
        return Header(text, charset, maxlinelen=self.random.choice([40, 76])).encode()

    def body(self, subtype, charset):
        part = MIMENonMultipart("text", subtype, charset=charset)
        text = self.text(charset)
        if subtype == "html":
            text = f"<p>{html.escape(text, quote=False)}</p>"
        data = "\r\n".join([text] * self.random.randint(1, 3)).encode(charset)
        return self.encoded(part, data, isText=charset not in ("utf-16",))

    def encoded(self, part, data, isText):
        ways = ["base64"]
        if isText:
            ways += ["quoted-printable", "8bit"]
        way = self.random.choice(ways)
        part["Content-Transfer-Encoding"] = way
        if way == "base64":
            payload = base64.encodebytes(data).decode()
        elif way == "quoted-printable":
            payload = quopri.encodestring(data).decode("ascii")
        else:
            payload = data.decode("ascii", "surrogateescape")
        part.set_payload(payload)
        return part

    def file(self):
        self.files += 1
        maintype, subtype = self.random.choice([("application", "pdf"), ("image", "png"), ("text", "plain"), ("text", "html"), ("application", "octet-stream"), ("text", "csv")])
        part = MIMENonMultipart(maintype, subtype)
        charset = self.random.choice(["us-ascii", "iso-8859-1", "utf-8", "windows-1251"])
        name = f"{self.files} {self.text(charset)[:60].strip()}.bin".replace("&", "").replace("…", "").replace("=", "").replace(":", "")
        disposition = self.random.choice(["attachment", "inline"])
        if charset == "us-ascii":
            part.add_header("Content-Disposition", disposition, filename=name)
        elif self.random.random() < 0.5:
            part.add_header("Content-Disposition", disposition, filename=(charset, "", name))
        else:
            part["Content-Disposition"] = f'{disposition}; filename="{Header(name, charset, maxlinelen=60).encode()}"'
        return self.encoded(part, self.random.randbytes(self.random.randint(0, 200)), isText=False)

    def part(self, depth=0):
        charset = self.random.choice(list(WORDS))
        kind = self.random.random()
        if depth < 4 and kind < 0.35:
            parts = [self.part(depth + 1) for _ in range(self.random.randint(1, 4))]
            return self.multi("mixed", parts)
        if kind < 0.5:
            forms = [self.body("plain", charset), self.body("html", self.random.choice(list(WORDS)))]
            return self.multi("alternative", forms)
        if kind < 0.6:
            return self.multi("related", [self.body("html", charset), self.file()])
        return self.file() if kind < 0.75 else self.body(self.random.choice(["plain", "plain", "html"]), charset)

    def multi(self, subtype, parts):
        result = MIMEMultipart(subtype)
        for part in parts:
            result.attach(part)
        if self.random.random() < 0.2:
            result.preamble = "This is a message in several parts.\n"
        return result

    def message(self):
        message = self.part()
        # A message that is nothing but a named text is shown, which Python's reader does not say.
        while message.get_filename() and message.get_content_maintype() == "text":
            message = self.part()
        charset = self.random.choice([c for c in WORDS if c not in ("utf-16", "utf-7")])
        message["Subject"] = self.header(charset)
        names = [self.header(self.random.choice(["us-ascii", "iso-8859-1", "utf-8", "koi8-r"])).replace("\n", "") for _ in range(3)]
        names = [name if name.startswith("=?") else name.replace(":", "").replace("=", "") for name in names]
        message["From"] = f"{names[0]} <sender+{self.random.randint(0, 99)}@x.test>"
        message["To"] = f"{names[1]} <a@b.test>, c@d.test, Group: {names[2]} <e@f.test>;" if self.random.random() < 0.5 else "a@b.test"
        return message


def expected(message):
    """What Python reads of a message: texts as (isHTML, words), and files as (name, bytes)."""
    texts, files = [], []

    def text(part):
        label = {"shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs", "eucgb2312_cn": "gb18030", "big5_tw": "big5hkscs", "iso-8859-1": "cp1252", "iso-8859-9": "cp1254", "euc-kr": "cp949"}
        charset = part.get_content_charset() or "us-ascii"
        return (part.get_content_subtype() == "html", part.get_payload(decode=True).decode(label.get(charset, charset)))

    def walk(part, target):
        if part.get_content_subtype() == "alternative":
            forms = []
            for child in part.get_payload():
                walk(child, forms)
            target += [f for f in forms if f[0]][-1:] or forms[-1:]
        elif part.is_multipart():
            for child in part.get_payload():
                walk(child, target)
        elif part.get_content_maintype() == "text" and not part.get_filename() and part.get_content_subtype() in ("plain", "html"):
            target.append(text(part))
        else:
            files.append((part.get_filename(), part.get_payload(decode=True)))
    walk(message, texts)
    return texts, files


def same(left, right):
    return "".join(left.split()) == "".join(right.split())


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("messages")
    generator = Generator(20261126)
    for number in range(COUNT):
        (folder / f"{number}.eml").write_bytes(generator.message().as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    output = subprocess.run([PROBE, folder], capture_output=True, check=True).stdout
    return folder, json.loads(output)


def test_two_readers_agree(generated):
    folder, readings = generated
    assert len(readings) == COUNT
    differences, files, texts = [], 0, 0
    for number in range(COUNT):
        data = (folder / f"{number}.eml").read_bytes()
        reading = readings[str(number)]
        new = email.message_from_bytes(data, policy=email.policy.default)

        def note(what, want, got):
            differences.append(f"{number} {what}: {want!r} {got!r}"[:400])
        if not same(str(new["Subject"]), reading["subject"]):
            note("subject", str(new["Subject"]), reading["subject"])
        if [a.addr_spec for a in new["From"].addresses][:1] != [reading["from"]]:
            note("from", new["From"], reading["from"])
        if [a.addr_spec for a in new["To"].addresses] != reading["to"]:
            note("to", new["To"], reading["to"])
        wanted, attached = expected(new)
        for isHTML, words in wanted:
            texts += 1
            if words.strip() and not same(words, reading["body"]) and "".join(words.split()) not in "".join(reading["body"].split()) \
                    and "".join(html.escape(words, quote=False).split()) not in "".join(reading["body"].split()):
                note("text", words, reading["body"])
        if any(isHTML and words.strip() for isHTML, words in wanted) != reading["isHTML"]:
            note("html", wanted, reading["isHTML"])
        files += len(attached)
        found = [(a["name"], base64.b64decode(a["bytes"])) for a in reading["attachments"]]
        if len(found) != len(attached) or any(not same(a[0], b[0]) or a[1] != b[1] for a, b in zip(attached, found)):
            note("files", [a[0] for a in attached], [f[0] for f in found])
    assert texts > COUNT and files > COUNT / 3
    assert not differences, f"{len(differences)} differences\n" + "\n".join(differences[:20])
