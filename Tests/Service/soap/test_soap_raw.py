"""Requests as scripts, clients in other languages, and attackers write them."""

import base64
import json
import time
import uuid
import zlib
from xml.sax.saxutils import escape

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
    # The encoding in the Content-Type has priority over the encoding in the document (RFC 7303, section 3.2).
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
    # After the refusals, the service still answers.
    assert results(opened(send(service, who_am_i())))
    long = call(service, operation("Create", f"<entity>{entity('mailbox', parameter('name', 'string', 'x' * 300_000))}</entity>"))
    refused_by(long, "0x80044331")


def test_a_long_request_that_is_refused_gets_its_response(service):
    """The service refuses while the client is still sending. The client receives the refusal, and the connection is not reset."""
    long = who_am_i(suffix="<!--" + "x" * (8 << 20) + "-->")
    for headers, status in (({"token": "x.y.z"}, 401), ({"Content_Type": "text/plain"}, 500)):
        start = time.monotonic()
        answer = send(service, long, **headers)
        assert answer.status_code == status and time.monotonic() - start < 20, answer.text
    # Without a valid token, the service does not parse the query.
    for query in ("$filter=" + "not " * 50, "$nope=1"):
        answer = service.get(f"{service.base}/api/discovery/v2.0/Instances?{query}", token="x.y.z")
        assert answer.status_code == 401, answer.text
    # Each 401 names the address for tokens: of the organization that the token names, or otherwise of the placeholder ORGANIZATION.
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
    # A SOAP 1.2 envelope with the content type of SOAP 1.1.
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


# Requests of clients without an SDK


XSI = "http://www.w3.org/2001/XMLSchema-instance"


def test_a_browser_scripts_request(service):
    """A request as form scripts for Dataverse write it: without white space, with other prefixes, and with each type declared in place."""
    name = f"script{uuid.uuid4().hex}"
    body = (
        f"<s:Envelope xmlns:s='{ENVELOPE}'><s:Body><Execute xmlns='{SERVICES}' xmlns:i='{XSI}'><request i:type='a:CreateRequest' xmlns:a='{NAMESPACES['x']}'>"
        f"<a:Parameters xmlns:b='{NAMESPACES['p']}'><a:KeyValuePairOfstringanyType><b:key>Target</b:key><b:value i:type='a:Entity'><a:Attributes>"
        f"<a:KeyValuePairOfstringanyType><b:key>name</b:key><b:value i:type='c:string' xmlns:c='{NAMESPACES['xs']}'>{name}</b:value></a:KeyValuePairOfstringanyType>"
        f"<a:KeyValuePairOfstringanyType><b:key>incomingemaildeliverymethod</b:key><b:value i:type='a:OptionSetValue'><a:Value>2</a:Value></b:value></a:KeyValuePairOfstringanyType>"
        "</a:Attributes><a:EntityState i:nil='true'/><a:FormattedValues/><a:Id>00000000-0000-0000-0000-000000000000</a:Id><a:LogicalName>mailbox</a:LogicalName>"
        "<a:RelatedEntities/></b:value></a:KeyValuePairOfstringanyType></a:Parameters><a:RequestId i:nil='true'/><a:RequestName>Create</a:RequestName></request></Execute></s:Body></s:Envelope>")
    action = f"{SERVICES}/IOrganizationService/Execute"
    answer = send(service, body, SOAPAction=action, Accept="application/xml, text/xml, */*", Content_Type="text/xml; charset=utf-8", X_Requested_With="XMLHttpRequest")
    created = results(opened(answer))["id"].text
    assert service.get(f"mailboxes({created})").json()["incomingemaildeliverymethod"] == 2
    # Scripts search the response for these names, with fixed prefixes.
    read = send(service, body.replace("Create", "Retrieve").split("<a:KeyValuePairOfstringanyType><b:key>Target")[0] + (
        f"<a:KeyValuePairOfstringanyType><b:key>Target</b:key><b:value i:type='a:EntityReference'><a:Id>{created}</a:Id><a:LogicalName>mailbox</a:LogicalName></b:value></a:KeyValuePairOfstringanyType>"
        f"<a:KeyValuePairOfstringanyType><b:key>ColumnSet</b:key><b:value i:type='a:ColumnSet'><a:AllColumns>false</a:AllColumns><a:Columns xmlns:c='{NAMESPACES['a']}'><c:string>name</c:string></a:Columns></b:value></a:KeyValuePairOfstringanyType>"
        "</a:Parameters><a:RequestName>Retrieve</a:RequestName></request></Execute></s:Body></s:Envelope>"), SOAPAction=action)
    assert all(part in read.text for part in ("<a:Attributes>", "<b:key>name</b:key>", f'i:type="c:string">{name}<', "<a:LogicalName>mailbox</a:LogicalName>")), read.text


def test_a_php_clients_request(service):
    """Requests as PHP's SoapClient writes them: other prefixes, xsi:type, headers of WS-Security, and SOAP 1.2 with the action in the content
    type."""
    name = f"php{uuid.uuid4().hex}"
    for version, envelope in (("1.1", ENVELOPE), ("1.2", NAMESPACES["s12"])):
        body = f"""<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="{envelope}" xmlns:ns1="{NAMESPACES['x']}" xmlns:ns2="{NAMESPACES['p']}" xmlns:ns3="{SERVICES}" xmlns:xsd="{NAMESPACES['xs']}" xmlns:xsi="{XSI}" xmlns:ns4="{NAMESPACES['a']}"><SOAP-ENV:Header/>
<SOAP-ENV:Body><ns3:RetrieveMultiple><ns3:query xsi:type="ns1:QueryExpression"><ns1:ColumnSet><ns1:AllColumns>0</ns1:AllColumns><ns1:Columns><ns4:string>name</ns4:string></ns1:Columns></ns1:ColumnSet>
<ns1:Criteria><ns1:FilterOperator>And</ns1:FilterOperator><ns1:Conditions><ns1:ConditionExpression><ns1:Values><ns4:anyType xsi:type="xsd:string"><![CDATA[{name}]]></ns4:anyType></ns1:Values><ns1:Operator>Equal</ns1:Operator>
<ns1:AttributeName>name</ns1:AttributeName></ns1:ConditionExpression></ns1:Conditions></ns1:Criteria><ns1:EntityName>queue</ns1:EntityName></ns3:query></ns3:RetrieveMultiple></SOAP-ENV:Body></SOAP-ENV:Envelope>
"""
        id = service.create("queues", {"name": name})
        action = f"{SERVICES}/IOrganizationService/RetrieveMultiple"
        if version == "1.1":
            answer = send(service, body, SOAPAction=f'"{action}"', User_Agent="PHP-SOAP/8.3.0")
        else:
            answer = send(service, body, url=address(service, version), Content_Type=f'application/soap+xml; charset=utf-8; action="{action}"', User_Agent="PHP-SOAP/8.3.0")
        found = opened(answer, version)
        assert [each.findtext("x:Id", namespaces=NAMESPACES) for each in found[0].find("x:Entities", NAMESPACES)] == [id]
        service.request("DELETE", f"queues({id})")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_a_record_in_each_encoding(service, encoding):
    """The value keeps its characters in each encoding, and in both versions of SOAP."""
    text = "Größe ½" if encoding == "latin-1" else "Größe ½ €uro 日本 \U0001f600"
    declared = {"latin-1": "iso-8859-1", "utf-8-sig": "utf-8"}.get(encoding, "utf-16")
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    for version in ("1.1", "1.2"):
        envelope = NAMESPACES["s" if version == "1.1" else "s12"]
        create = operation("Create", f"<entity>{entity('queue', parameter('name', 'string', text))}</entity>")
        body = f'<?xml version="1.0" encoding="{declared}"?><s:Envelope xmlns:s="{envelope}"><s:Body>{create}</s:Body></s:Envelope>'
        type = "text/xml" if version == "1.1" else "application/soap+xml"
        answer = opened(send(service, mark + body.encode(encoding), url=address(service, version), Content_Type=type), version)
        assert service.get(f"queues({answer[0].text})?$select=name").json()["name"] == text


@pytest.mark.parametrize("text", [
    '<!DOCTYPE fetch [<!ENTITY a "mailbox">]><fetch><entity name="&a;"/></fetch>', '<!DOCTYPE fetch SYSTEM "file:///etc/passwd"><fetch><entity name="mailbox"/></fetch>',
    "<?php x ?><fetch><entity name='mailbox'/></fetch>", "<fetch><entity name='&xxe;'/></fetch>", "<fetch>" + "<entity name='mailbox'>" * 200 + "</entity>" * 200 + "</fetch>",
    "<fetch><entity name='mailbox' name='queue'/></fetch>", "<fetch " + " ".join(f"a{n}='1'" for n in range(40)) + "/>", "<fetch>" + "<a/>" * 3_000 + "</fetch>", "<fetch><entity name='mailbox'/></fetch",
    "<fetch xmlns='urn:x'><entity name='mailbox'/></fetch>",
])
def test_the_fetchxml_within_is_read_with_limits_too(service, text):
    """FetchXML is a document inside of the SOAP document. The same limits apply to it."""
    body = operation("RetrieveMultiple", f'<query i:type="x:FetchExpression"><x:Query>{escape(text)}</x:Query></query>')
    message = refused_by(call(service, body), "0x80060888")
    assert "root:" not in message and len(message) < 500


@pytest.mark.parametrize("body", [
    # Thousands of elements, hundreds of namespaces, or a text of character references.
    lambda: who_am_i().replace(b"<request>", b"<request>" + b"".join(b"<n%d/>" % n for n in range(10_500))), lambda: who_am_i().replace(b"<request>", b"<request>" + b"".join(b"<a xmlns='urn:%d'>" % n for n in range(127))),
    lambda: who_am_i().replace(b"WhoAmI", b"&#65;" * 100_000), lambda: who_am_i().replace(b"<request>", b"<request xmlns:" + b"p" * 300 + b"='u'>"),
    lambda: who_am_i().replace(b"<request>", b"<request xmlns:p='" + b"u" * 300 + b"'>"), lambda: b"<" * (1 << 20), lambda: b"<!--" * (1 << 18), lambda: who_am_i().replace(b"WhoAmI", b"\xc0\xae\xc0\xae"), lambda: who_am_i().replace(b"WhoAmI", b"\xed\xa0\x80"),
    lambda: who_am_i().replace(b"WhoAmI", b"\xf4\x90\x80\x80"), lambda: who_am_i().replace(b"<request>", b"<request xmlns:i='" + XSI.encode() + b"' i:nil='true'>"), lambda: who_am_i().replace(b"<request>", b"<request xmlns:i='" + XSI.encode() + b"' i:type='q:WhoAmIRequest'>"),
])
def test_large_and_strange_documents_are_refused_and_nothing_lasts(service, body):
    answer = send(service, body())
    assert answer.status_code == 500
    refused = fault(opened(answer))
    assert refused[1] in ("0x8005F100", "0x80048D19", "0x80040219") and len(refused[2]) < 1_000, refused
    assert results(opened(send(service, who_am_i())))


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_each_header(service, version):
    """The service accepts the headers that the SDK writes, in both versions. An unknown header with mustUnderstand is a fault."""
    space = NAMESPACES["x"]
    me, other = service.get("WhoAmI").json()["UserId"], service.get("WhoAmI", client="user").json()["UserId"]
    who = operation("Execute", "<request><x:Parameters/><x:RequestName>WhoAmI</x:RequestName></request>")

    def user(header):
        return results(call(service, who, version, header))["UserId"].text

    for name, text in (("SdkClientVersion", "9.2.49.4"), ("LanguageCodeOverride", "1031"), ("UserType", "CrmUser"), ("OutlookSyncOperationType", "None"), ("ClientAppName", "x"), ("ClientAppVersion", "1"),
                       ("CallerRegardingObjectId", ""), ("UtcOffset", "60"), ("CallerRegardingObject", "")):
        for must in ("", ' s:mustUnderstand="1"', ' s:mustUnderstand="0"'):
            assert user(f'<h:{name} xmlns:h="{space}"{must}>{text}</h:{name}>') == me, name
    for id, expected in ((other, other), (f"{{{other.upper()}}}", other), (f" {other} ", other), ("00000000-0000-0000-0000-000000000000", me), ("", me)):
        assert user(f'<h:CallerId xmlns:h="{space}" s:mustUnderstand="true">{id}</h:CallerId>') == expected, id
    refused_by(call(service, who, version, f'<h:CallerId xmlns:h="{space}">nobody</h:CallerId>'), "0x8005F100")
    refused_by(call(service, who, version, f'<h:CallerId xmlns:h="{space}">{uuid.uuid4()}</h:CallerId>'), "0x80072560")
    role = "actor" if version == "1.1" else "role"
    unknown = '<o:Security xmlns:o="urn:other" s:mustUnderstand="{}"{}/>'
    for must in ("1", "true"):
        for of in ("", f' s:{role}="http://schemas.xmlsoap.org/soap/actor/next"', f' s:{role}="http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver"'):
            code, number, message = fault(call(service, who, version, unknown.format(must, of)))
            assert (code, number) == ("s:MustUnderstand", None) and "Security" in message
    # The service ignores a header that is for another node, or that has no mustUnderstand.
    assert user(unknown.format("1", f' s:{role}="urn:another"')) == user(unknown.format("0", "")) == me
