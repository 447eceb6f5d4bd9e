"""Requests as scripts and other languages' clients write them, and as an attacker would."""

import base64
import json
import time
import uuid
import zlib

import pytest
from lxml import etree
from soap import NAMESPACES, SERVICES, address, call, columns, entity, fault, opened, operation, parameter, refused_by, request, results, send, values

ENVELOPE = NAMESPACES["s"]


def who_am_i(prefix="", suffix="", encoding="utf-8", declaration=""):
    text = f'{declaration}{prefix}<s:Envelope xmlns:s="{ENVELOPE}"><s:Body><Execute xmlns="{SERVICES}"><request><a:Parameters xmlns:a="{NAMESPACES["x"]}"/><a:RequestName xmlns:a="{NAMESPACES["x"]}">WhoAmI</a:RequestName></request></Execute></s:Body></s:Envelope>{suffix}'
    return text.encode(encoding)


def test_prefixes_cdata_comments_and_white_space(service):
    name = f"raw{uuid.uuid4().hex}"
    body = f"""<?xml version='1.0' encoding="UTF-8" standalone='yes'?>
<!-- written by hand -->
<SOAP-ENV:Envelope xmlns:ns1='{SERVICES}' xmlns:SOAP-ENV="{ENVELOPE}"
   xmlns:q="{NAMESPACES['x']}">
  <SOAP-ENV:Header/>
  <SOAP-ENV:Body><!-- the operation -->
    <ns1:Create>
      <ns1:entity xmlns:kv='{NAMESPACES['p']}'>
        <q:LogicalName><![CDATA[mail]]><!-- in two parts -->box</q:LogicalName>
        <q:Attributes>
          <q:KeyValuePairOfstringanyType>
            <kv:value xmlns:T="{NAMESPACES['xs']}" xmlns:I="http://www.w3.org/2001/XMLSchema-instance" I:type = 'T:string'>{name} &amp; <![CDATA[<b> & ]]>&#x41;&#66;&lt;</kv:value>
            <kv:key>name</kv:key>
          </q:KeyValuePairOfstringanyType>
        </q:Attributes>
      </ns1:entity>
    </ns1:Create>
  </SOAP-ENV:Body>
</SOAP-ENV:Envelope>
<!-- the end -->
"""
    response = opened(send(service, body, Content_Type="text/xml"))
    assert service.get(f"mailboxes({response[0].text})?$select=name").json()["name"] == f"{name} & <b> & AB<"


@pytest.mark.parametrize("encode, type", [
    (lambda: b"\xef\xbb\xbf" + who_am_i(), "text/xml"), (lambda: who_am_i(encoding="utf-16"), "text/xml; charset=utf-16"), (lambda: who_am_i(encoding="utf-16"), "text/xml"),
    (lambda: b"\xfe\xff" + who_am_i(encoding="utf-16-be"), 'text/xml; charset="UTF-16"'),
    (lambda: who_am_i(encoding="utf-16-le", declaration='<?xml version="1.0" encoding="utf-16"?>'), "text/xml"),
    (lambda: who_am_i(encoding="latin-1", declaration='<?xml version="1.0" encoding="ISO-8859-1"?>', suffix="<!-- \xe4 -->"), "text/xml"),
    (lambda: who_am_i(prefix=" \r\n\t"), "TEXT/XML ; charset=utf-8"),
    # What the message says of its encoding comes before what the document says (RFC 7303 section 3.2).
    (lambda: who_am_i(declaration='<?xml version="1.0" encoding="utf-16"?>'), "text/xml; charset=utf-8"),
])
def test_encodings(service, encode, type):
    assert results(opened(send(service, encode(), Content_Type=type)))


@pytest.mark.parametrize("body", [
    who_am_i()[:-5], who_am_i() + b"<x/>", b"", b"\0", b"{}", who_am_i() + b"x", b"<a/>" + who_am_i(), who_am_i().replace(b"WhoAmI", b"\xff\xfe"),
    who_am_i(encoding="utf-16")[:-1], who_am_i(declaration='<?xml version="1.0" encoding="ebcdic"?>'), who_am_i(declaration='<?xml version="1.1"?>'),
    who_am_i(prefix='<!DOCTYPE x [<!ENTITY a "b">]>'),
    who_am_i(prefix='<!DOCTYPE x SYSTEM "file:///etc/passwd">'), who_am_i(prefix="<?php system('id') ?>"), who_am_i().replace(b"WhoAmI", b"&nbsp;"),
    who_am_i().replace(b"WhoAmI", b"&#0;"), who_am_i().replace(b"WhoAmI", b"&#xD800;"), who_am_i().replace(b"WhoAmI", b"\x01"), who_am_i().replace(b"WhoAmI", b"a & b"),
    who_am_i().replace(b"WhoAmI", b"]]>"), who_am_i().replace(b"<request>", b'<request a="1" a="2">'), who_am_i().replace(b"<request>", b'<request xmlns:p="u" xmlns:q="u" p:a="1" q:a="2">'),
    who_am_i().replace(b"<request>", b"<request u:a='1'>"), who_am_i().replace(b"<request>", b"<u:request>"), who_am_i().replace(b"<request>", b"<request a='<'>"),
    who_am_i().replace(b"<request>", b"<request a=1>"), who_am_i().replace(b"<request>", b"<request xmlns:xml='urn:x'>"), who_am_i().replace(b"<request>", b"<request>text"),
    who_am_i().replace(b"<request>", b"<request " + b" ".join(b"a%d='1'" % n for n in range(100)) + b">"), b"<a>" * 5_000 + b"</a>" * 5_000, b"<" + b"a" * 100_000 + b"/>",
    who_am_i().replace(b"<request>", b"<request " + b" ".join(b"xmlns:p%d='urn:%d'" % (n, n) for n in range(31)) + b">" + b"<x/>" * 3 + b"</nothing>"),
])
def test_what_is_no_xml_of_ours(service, body):
    response = send(service, body)
    assert response.status_code == 500, response.text
    message = refused_by(opened(response), "0x8005F100")
    assert "passwd" not in message and "root:" not in message


def test_a_declared_encoding_that_is_another(service):
    body = who_am_i(declaration='<?xml version="1.0" encoding="utf-16"?>')
    refused_by(opened(send(service, body, Content_Type="text/xml")), "0x8005F100")
    refused_by(opened(send(service, who_am_i(encoding="utf-16"), Content_Type="text/xml; charset=utf-8")), "0x8005F100")


def test_entities_that_grow_are_not_read(service):
    bombs = "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, 10))
    body = who_am_i(prefix=f'<!DOCTYPE x [<!ENTITY b0 "boom">{bombs}]>').replace(b"WhoAmI", b"&b9;")
    start = time.monotonic()
    refused_by(opened(send(service, body)), "0x8005F100")
    assert time.monotonic() - start < 20


def test_sizes(service):
    big = send(service, who_am_i(suffix="<!--" + "x" * (17 << 20) + "-->"))
    assert big.status_code == 500
    refused_by(opened(big), "0x8004418A")
    many = b"<s:Envelope xmlns:s='" + ENVELOPE.encode() + b"'>" + b"<a/>" * 600_000 + b"</s:Envelope>"
    refused_by(opened(send(service, many)), "0x8005F100")
    # The same connection goes on, and the service too.
    assert results(opened(send(service, who_am_i())))
    long = call(service, operation("Create", f"<entity>{entity('mailbox', parameter('name', 'string', 'x' * 300_000))}</entity>"))
    refused_by(long, "0x80044331")


def test_a_long_request_that_is_refused_gets_its_response(service):
    """A client that still sends sees the refusal, and not a connection that was reset."""
    long = who_am_i(suffix="<!--" + "x" * (8 << 20) + "-->")
    for headers, status in (({"token": "x.y.z"}, 401), ({"Content_Type": "text/plain"}, 500)):
        start = time.monotonic()
        answer = send(service, long, **headers)
        assert answer.status_code == status and time.monotonic() - start < 20, answer.text
    # Without a token nothing of a query is parsed.
    for query in ("$filter=" + "not " * 50, "$nope=1"):
        answer = service.get(f"{service.base}/api/discovery/v2.0/Instances?{query}", token="x.y.z")
        assert answer.status_code == 401, answer.text
    # Each 401 says where to get a token: from the organization that the token names, or else from the caller's.
    claims = base64.urlsafe_b64encode(json.dumps({"iss": f"{service.base}/contoso/v2.0"}).encode()).decode().rstrip("=")
    for token, name in ((f"e30.{claims}.x", "contoso"), ("x.y.z", "ORGANIZATION"), ("", "ORGANIZATION")):
        for path in ("api/discovery/v2.0/Instances", "XRMServices/2011/Discovery.svc"):
            answer = service.get(f"{service.base}/{path}", token=token)
            root = f"{service.base}/{name}"
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, f"Bearer authorization_uri={root}/oauth2/authorize, resource_id={root}/"), answer.text
    assert service.get(f"{service.base}/api/discovery/v2.0/Instances?$nope=1").status_code == 400


def test_content_types_and_versions(service):
    for type in ("application/json", "", "text/plain", "multipart/related"):
        refused_by(opened(send(service, who_am_i(), Content_Type=type)), "0x8005F100")
    other = who_am_i().replace(ENVELOPE.encode(), b"urn:other")
    code, number, _ = fault(opened(send(service, other)))
    assert (code, number) == ("s:VersionMismatch", None)
    # SOAP 1.2 in the content type of SOAP 1.1.
    mixed = who_am_i().replace(ENVELOPE.encode(), NAMESPACES["s12"].encode())
    assert fault(opened(send(service, mixed)))[0] == "s:VersionMismatch"
    both = send(service, mixed, url=address(service), Content_Type='application/soap+xml; charset=utf-8; action="urn:x/Execute"')
    assert results(opened(both, "1.2"))


def test_characters_that_xml_does_not_have_do_not_break_a_response(service):
    text = f"raw{uuid.uuid4().hex}\x01\uffff]]>&<\r\n\t\U0001f600"
    id = service.create("queues", {"name": "raw", "description": text})
    response = call(service, operation("Retrieve", f"<entityName>queue</entityName><id>{id}</id><columnSet>{columns('description')}</columnSet>"))
    assert values(response[0])["description"][1] == text.replace("\x01", "\ufffd").replace("\uffff", "\ufffd")


def test_late_bound_values_without_a_type_or_twice(service):
    untyped = entity("mailbox", "<x:KeyValuePairOfstringanyType><p:key>name</p:key><p:value>x</p:value></x:KeyValuePairOfstringanyType>")
    assert "i:type" in refused_by(call(service, operation("Create", f"<entity>{untyped}</entity>")), "0x80048D19")
    twice = entity("mailbox", parameter("name", "string", "a") + parameter("Name", "string", "b"))
    assert "twice" in refused_by(call(service, operation("Create", f"<entity>{twice}</entity>")), "0x80048D19")
    strange = entity("mailbox", parameter("name", "string", "a")).replace("<x:LogicalName>", "<x:LogicalName>x</x:LogicalName><x:LogicalName>")
    assert "twice" in refused_by(call(service, operation("Create", f"<entity>{strange}</entity>")), "0x80048D19")


def test_nothing_of_a_refused_password_is_told_or_logged(service):
    canary = f"canary{uuid.uuid4().hex}"
    for content in (
        entity("mailbox", parameter("password", "string", canary) + parameter("nosuch", "string", canary)),
        entity("mailbox", parameter("password", "int", canary)), entity("mailbox", parameter("password", "guid", canary)),
        entity("mailbox", parameter("password", "string", canary * 50)),
        entity("mailbox", parameter("password", "x:OptionSetValue", f"<x:Value>{canary}</x:Value>")),
    ):
        element = call(service, operation("Create", f"<entity>{content}</entity>"))
        assert fault(element)[1] and canary.encode() not in etree.tostring(element)
    broken = request("execute-WhoAmI").replace("WhoAmI", canary) + "<"
    assert canary not in send(service, broken).text
    assert canary.encode() not in service.log()


def test_a_compressed_body_is_not_guessed(service):
    response = send(service, zlib.compress(who_am_i()))
    refused_by(opened(response), "0x8005F100")
