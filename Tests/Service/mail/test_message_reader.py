"""Compares the reader with Python's `email`: both read 2,400 generated messages, under this policy.

| what | policy |
| --- | --- |
| date | the moment of `email.headerregistry`, with each zone and form of RFC 5322 |
| subject, file names | Python's, which decodes RFC 2047 and RFC 2231; blanks at the ends do not count |
| sender, recipients | the addresses of `email.headerregistry` |
| text | each text part without a file name, outside of alternatives, is in the body; of an alternative, the last HTML, else the last plain text; in HTML, plain text is escaped |
| files | every part with a file name, and every part that is no text; the bytes are Python's `get_payload(decode=True)` |
"""

import base64
import datetime
import email
import email.policy
import email.utils
import html
import json
import pathlib
import quopri
import subprocess
import unicodedata
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from random import Random

import pytest

PROBE = pathlib.Path(__file__).parents[3] / ".build/debug/MessageProbe"
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
        """The encoded text of a header."""
        text = self.text(charset)
        return Header(text, charset, maxlinelen=self.random.choice([40, 76])).encode()

    def date(self):
        """A date between 1970 and 2096 in the form of RFC 5322, with or without its optional parts."""
        moment = datetime.datetime.fromtimestamp(self.random.randrange(0, 4_000_000_000), datetime.timezone.utc)
        minutes = self.random.choice([0, 0, 60, 120, 330, 345, 765, 840, -60, -210, -300, -420, -480, -720])
        text = email.utils.format_datetime(moment.astimezone(datetime.timezone(datetime.timedelta(minutes=minutes))))
        kind = self.random.random()
        if kind < 0.2:
            text = text.partition(", ")[2]
        elif kind < 0.4:
            text += self.random.choice([" (CET)", " (Pacific (Standard) Time)"])
        elif kind < 0.5:
            text = moment.strftime("%a, %d %b %Y %H:%M:%S ") + self.random.choice(["GMT", "UT", "Z", "EST", "PDT", "-0000"])
        return text

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
        # Leaves out messages of one text part with a file name: the reader shows them as text, and Python's does not.
        while message.get_filename() and message.get_content_maintype() == "text":
            message = self.part()
        charset = self.random.choice([c for c in WORDS if c not in ("utf-16", "utf-7")])
        message["Subject"] = self.header(charset)
        names = [self.header(self.random.choice(["us-ascii", "iso-8859-1", "utf-8", "koi8-r"])).replace("\n", "") for _ in range(3)]
        names = [name if name.startswith("=?") else name.replace(":", "").replace("=", "") for name in names]
        message["From"] = f"{names[0]} <sender+{self.random.randint(0, 99)}@x.test>"
        message["Date"] = self.date()
        message["To"] = f"{names[1]} <a@b.test>, c@d.test, Group: {names[2]} <e@f.test>;" if self.random.random() < 0.5 else "a@b.test"
        return message


def expected(message):
    """What Python's parser reads: texts as (isHTML, words), and files as (name, bytes)."""
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
        if new["Date"].datetime.replace(tzinfo=new["Date"].datetime.tzinfo or datetime.timezone.utc).timestamp() != reading["date"]:
            note("date", data.partition(b"\nDate:")[2].partition(b"\n")[0], reading["date"])
        wanted, attached = expected(new)
        for isHTML, words in wanted:
            texts += 1
            if words.strip() and not same(words, reading["body"]) and "".join(words.split()) not in "".join(reading["body"].split()) \
                    and "".join(html.escape(words, quote=False).split()) not in "".join(reading["body"].split()):
                note("text", words, reading["body"])
        # If the message has no other text, the reader may show the text of a file.
        if any(words.strip() for _, words in wanted) and any(isHTML and words.strip() for isHTML, words in wanted) != reading["isHTML"]:
            note("html", wanted, reading["isHTML"])
        files += len(attached)
        found = [(a["name"], base64.b64decode(a["bytes"])) for a in reading["attachments"]]
        if len(found) != len(attached) or any(not same(a[0], b[0]) or a[1] != b[1] for a, b in zip(attached, found)):
            note("files", [a[0] for a in attached], [f[0] for f in found])
    assert texts > COUNT and files > COUNT / 3
    assert not differences, f"{len(differences)} differences\n" + "\n".join(differences[:20])


#: For each of Python's codecs: the labels of the charset in the WHATWG Encoding Standard.
LABELS = {
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc-jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
    "gb18030": "gb18030 chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso-2022-jp": "csiso2022jp iso-2022-jp",
    "iso-8859-10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso-8859-13": "iso-8859-13 iso8859-13 iso885913",
    "iso-8859-14": "iso-8859-14 iso8859-14 iso885914",
    "iso-8859-15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso-8859-16": "iso-8859-16",
    "iso-8859-2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso-8859-3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso-8859-4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso-8859-5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso-8859-6": "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
    "iso-8859-7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek",
    "iso-8859-8": "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical",
    "koi8-r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8-u": "koi8-ru koi8-u",
    "mac-roman": "csmacintosh mac macintosh x-mac-roman",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1252": "cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 windows-1252 x-cp1252",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "mac-cyrillic": "x-mac-cyrillic x-mac-ukrainian",
}


def sample(codec):
    """Bytes and the text that they encode: a sentence, or every byte above 0x7F that is a letter or a sign."""
    sentences = {"gb18030": "您好，镕喆的订单", "big5hkscs": "您好，訂單已經出貨", "cp949": "안녕하세요 주문하신 똠", "cp932": "こんにちは世界、①髙", "euc-jp": "ありがとうございます", "iso-2022-jp": "会議の資料を送ります"}
    if codec in sentences:
        return sentences[codec].encode(codec), sentences[codec]
    data = bytes(b for b in range(0xA1, 0x100) if b != 0xAD and (text := bytes([b]).decode(codec, "ignore")) and text.isprintable() and not text.isspace())
    return data, data.decode(codec)


def test_labels_of_charsets_have_their_everyday_meaning(tmp_path):
    labels = [(codec, label) for codec, names in LABELS.items() for label in names.split()]
    for number, (codec, label) in enumerate(labels):
        head = f'From: a@b.test\r\nContent-Type: text/plain; charset="{label}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        (tmp_path / f"{number}.eml").write_bytes(head.encode() + base64.encodebytes(sample(codec)[0]))
    readings = json.loads(subprocess.run([PROBE, tmp_path], capture_output=True, check=True).stdout)
    assert len(readings) == len(labels) > 200
    wrong = [(label, sample(codec)[1], readings[str(n)]["body"]) for n, (codec, label) in enumerate(labels)
             if unicodedata.normalize("NFC", readings[str(n)]["body"]) != unicodedata.normalize("NFC", sample(codec)[1]) or readings[str(n)]["notes"]]
    assert not wrong, wrong
