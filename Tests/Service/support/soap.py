"""Sends SOAP requests, in envelopes that are written here by hand."""

import pathlib
import re
import string
import types

from connections import Connections
from lxml import etree
from service import PATIENCE

FIXTURES = pathlib.Path(__file__).parents[2] / "Fixtures/soap"
NAMESPACES = {
    "": "http://schemas.microsoft.com/xrm/2011/Contracts/Services", "x": "http://schemas.microsoft.com/xrm/2011/Contracts",
    "c": "http://schemas.microsoft.com/crm/2011/Contracts", "m": "http://schemas.microsoft.com/xrm/2012/Contracts",
    "o": "http://schemas.microsoft.com/xrm/2014/Contracts", "k": "http://schemas.microsoft.com/xrm/7.1/Contracts",
    "d": "http://schemas.microsoft.com/xrm/2011/Metadata", "d13": "http://schemas.microsoft.com/xrm/2013/Metadata",
    "d71": "http://schemas.microsoft.com/xrm/7.1/Metadata", "d90": "http://schemas.microsoft.com/xrm/9.0/Metadata",
    "p": "http://schemas.datacontract.org/2004/07/System.Collections.Generic",
    "a": "http://schemas.microsoft.com/2003/10/Serialization/Arrays", "ser": "http://schemas.microsoft.com/2003/10/Serialization/",
    "xs": "http://www.w3.org/2001/XMLSchema", "v": "http://schemas.microsoft.com/xrm/2011/Contracts/Discovery",
    "s": "http://schemas.xmlsoap.org/soap/envelope/", "s12": "http://www.w3.org/2003/05/soap-envelope",
    "wsa": "http://www.w3.org/2005/08/addressing",
}
# XPath has no empty prefix.
XPATH = {prefix: namespace for prefix, namespace in NAMESPACES.items() if prefix}
PREFIXES = {namespace: prefix for prefix, namespace in NAMESPACES.items()}
DECLARATIONS = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in NAMESPACES.items() if prefix)
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
SERVICES = NAMESPACES[""]
EMPTY = "00000000-0000-0000-0000-000000000000"
VERSIONS = {"1.1": ("s", "/web", "text/xml; charset=utf-8"), "1.2": ("s12", "", "application/soap+xml; charset=utf-8")}


def address(service, version="1.1"):
    return f"{service.base}/{service.dev['organization']}/XRMServices/2011/Organization.svc{VERSIONS[version][1]}"


def deployment_of(server):
    """A server of a cluster, as an object with the attributes of a deployment that this file uses."""
    certificate = str(server.cluster.home / "server.pem")
    return types.SimpleNamespace(
        base=server.base, dev={"organization": "contoso", "caFile": certificate}, token=lambda client: server.token,
        connections=Connections(certificate))


def send(service, body, client="admin", token=None, url=None, **headers):
    """Sends a body as it is."""
    headers = {"Content-Type": VERSIONS["1.1"][2], **{name.replace("_", "-"): value for name, value in headers.items()}}
    if token != "":
        headers["Authorization"] = f"Bearer {token or service.token(client)}"
    body = body.encode() if isinstance(body, str) else body
    return service.connections.session.post(url or address(service), data=body, headers=headers, timeout=PATIENCE)


def call(service, operation, version="1.1", header="", **options):
    """Sends the element of an operation in an envelope. Returns the element in the body of the response."""
    prefix, _, type = VERSIONS[version]
    namespace = NAMESPACES[prefix]
    envelope = (
        f'<s:Envelope xmlns:s="{namespace}"><s:Header>{header}</s:Header><s:Body>{operation}</s:Body></s:Envelope>' if header
        else f'<s:Envelope xmlns:s="{namespace}"><s:Body>{operation}</s:Body></s:Envelope>')
    response = send(service, envelope, url=address(service, version), Content_Type=type, **options)
    return opened(response, version)


def opened(response, version="1.1"):
    """The element in the body of a response. Checks the headers and the envelope, which every response must have."""
    prefix, _, type = VERSIONS[version]
    assert response.headers["Content-Type"] == type, response.headers
    assert response.headers["Cache-Control"].startswith("no-"), response.headers
    root = etree.fromstring(response.content, etree.XMLParser(resolve_entities=False, no_network=True))
    assert root.tag == f"{{{NAMESPACES[prefix]}}}Envelope"
    body = root.find(f"{{{NAMESPACES[prefix]}}}Body")
    assert len(body) == 1
    is_fault = body[0].tag == f"{{{NAMESPACES[prefix]}}}Fault"
    assert (response.status_code == 200) != is_fault, (response.status_code, response.text)
    return body[0]


def execute(service, name, parameters="", **options):
    """Executes a request that is identified only by its name. Returns its results: {key: element}."""
    operation = (
        f'<Execute xmlns="{SERVICES}" {DECLARATIONS} xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><request><x:Parameters>{parameters}'
        f'</x:Parameters><x:RequestId i:nil="true"/><x:RequestName>{name}</x:RequestName></request></Execute>')
    return results(call(service, operation, **options))


def results(response):
    assert etree.QName(response).localname == "ExecuteResponse", etree.tostring(response).decode()
    pairs = response.findall(".//x:Results", NAMESPACES)[0]
    return {pair.find("p:key", NAMESPACES).text: pair.find("p:value", NAMESPACES) for pair in pairs}


def parameter(key, type, value):
    """A parameter with its type and value. A type without a prefix is one of XML Schema."""
    if value is None:
        return f'<x:KeyValuePairOfstringanyType><p:key>{key}</p:key><p:value i:nil="true"/></x:KeyValuePairOfstringanyType>'
    type = type if ":" in type else f"xs:{type}"
    return f'<x:KeyValuePairOfstringanyType><p:key>{key}</p:key><p:value i:type="{type}">{value}</p:value></x:KeyValuePairOfstringanyType>'


def reference(entity, id=EMPTY, keys="", version=None):
    row = f"<x:RowVersion>{version}</x:RowVersion>" if version else '<x:RowVersion i:nil="true"/>'
    return f'<x:Id>{id}</x:Id><x:KeyAttributes>{keys}</x:KeyAttributes><x:LogicalName>{entity}</x:LogicalName><x:Name i:nil="true"/>{row}'


def entity(name, attributes="", id=EMPTY, keys="", version=None):
    row = f"<x:RowVersion>{version}</x:RowVersion>" if version else '<x:RowVersion i:nil="true"/>'
    return (
        f'<x:Attributes>{attributes}</x:Attributes><x:EntityState i:nil="true"/><x:FormattedValues/><x:Id>{id}</x:Id>'
        f"<x:KeyAttributes>{keys}</x:KeyAttributes><x:LogicalName>{name}</x:LogicalName><x:RelatedEntities/>{row}")


def operation(name, content):
    """The element of an operation. It declares every prefix."""
    return f'<{name} xmlns="{SERVICES}" {DECLARATIONS} xmlns:i="http://www.w3.org/2001/XMLSchema-instance">{content}</{name}>'


def columns(*names, everything=False):
    inner = "".join(f"<a:string>{name}</a:string>" for name in names)
    return f"<x:AllColumns>{str(everything).lower()}</x:AllColumns><x:AttributeExpressions/><x:Columns>{inner}</x:Columns>"


def values(record):
    """The attributes of an Entity: {name: (type, text or element)}."""
    found = {}
    for pair in record.find("x:Attributes", NAMESPACES):
        value = pair.find("p:value", NAMESPACES)
        found[pair.find("p:key", NAMESPACES).text] = (type_of(value), value if len(value) else value.text)
    return found


def formatted(record):
    return {pair[0].text: pair[1].text for pair in record.find("x:FormattedValues", NAMESPACES)}


def type_of(element):
    name = element.get(XSI + "type")
    if not name:
        return None
    prefix, _, local = name.rpartition(":")
    return f"{PREFIXES[element.nsmap[prefix or None]]}:{local}".lstrip(":")


def fault(element):
    """The code, error number and message of a fault, in both versions of SOAP."""
    code = element.findtext("faultcode") or element.findtext("s12:Code/s12:Value", namespaces=NAMESPACES)
    detail = element.find(".//x:OrganizationServiceFault", NAMESPACES)
    if detail is None:
        detail = element.find(".//x:DiscoveryServiceFault", NAMESPACES)
    if detail is None:
        return code, None, element.findtext("faultstring") or element.findtext("s12:Reason/s12:Text", namespaces=NAMESPACES)
    number = int(detail.findtext("x:ErrorCode", namespaces=NAMESPACES))
    return code, f"0x{number & 0xFFFFFFFF:08X}", detail.findtext("x:Message", namespaces=NAMESPACES)


def refused_by(element, code):
    """Checks that the element is a fault with this error number. Returns its message."""
    assert etree.QName(element).localname == "Fault", etree.tostring(element).decode()[:2000]
    _, number, message = fault(element)
    assert number == code, (number, message)
    assert message
    return message


# Recorded requests and outlines


def request(name, /, **values):
    """A recorded request, with these values in its placeholders."""
    return string.Template((FIXTURES / "requests" / f"{name}.xml").read_text()).substitute(values)


def outlines():
    """The outlines of the recorded responses: {name: lines}."""
    found, lines = {}, []
    for line in (FIXTURES / "responses.txt").read_text().splitlines():
        if line.startswith("== "):
            lines = found[line[3:]] = []
        else:
            lines.append(line)
    return found


def outline(element, depth=0):
    """One line for each element, with its name, type, nil, and the key if it is one of a pair."""
    name = etree.QName(element)
    line = " " * depth
    if name.namespace:
        prefix = PREFIXES[name.namespace]
        line += f"{prefix}:" if prefix else ""
    line += name.localname
    if type_of(element):
        line += f" type={type_of(element)}"
    if element.get(XSI + "nil") == "true":
        line += " nil"
    if name.localname == "key":
        line += f" = {element.text or ''}"
    return [line] + [inner for child in element for inner in outline(child, depth + 1)]


def names(lines):
    """An outline without nils, which depend on the values."""
    return [re.sub(r" nil$", "", line) for line in lines]
