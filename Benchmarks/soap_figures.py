"""soap/…: the Organization service compared with the Web API, for the same record and the same list."""

import re
import subprocess
import tempfile

import requests as http
from api import CONNECTIONS, PAGE, load, resident
from bench import paired, record
from service import Deployment
from soap import NAMESPACES, SERVICES, address, columns, operation

FIGURES = ["soap/read", "soap/list", "soap/memory"]
READ = ["name", "password", "ispasswordset"]
LISTED = ["mailboxid", "name", "emailaddress", "statecode", "statuscode", "createdon", "modifiedon", "versionnumber", "ownerid", "ispasswordset"]


def envelope(content):
    return f'<s:Envelope xmlns:s="{NAMESPACES["s"]}"><s:Body>{content}</s:Body></s:Envelope>'.encode()


def retrieve(id):
    """A request as the SDK writes it, with only the namespaces that it needs."""
    names = "".join(f"<b:string>{name}</b:string>" for name in READ)
    return envelope(
        f'<Retrieve xmlns="{SERVICES}"><entityName>mailbox</entityName><id>{id}</id>'
        f'<columnSet xmlns:a="{NAMESPACES["x"]}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a:AllColumns>false</a:AllColumns>'
        f'<a:AttributeExpressions/><a:Columns xmlns:b="{NAMESPACES["a"]}">{names}</a:Columns></columnSet></Retrieve>')


def run_list(service):
    service.sql(
        "INSERT INTO org_contoso.mailbox (mailboxid, name, emailaddress) "
        "SELECT gen_random_uuid(), 'mailbox ' || i, 'mailbox' || i || '@contoso.test' FROM generate_series(1, %s) AS i", [PAGE])
    service.sql("ANALYZE org_contoso.mailbox")
    session = http.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    # Turns compression off, because it costs time and helps only on a slow line.
    session.headers["Accept-Encoding"] = "identity"
    session.headers["Authorization"] = f"Bearer {service.token()}"
    selected = ",".join(LISTED).replace("ownerid", "_ownerid_value")
    query = (
        f'<query i:type="x:QueryExpression"><x:ColumnSet>{columns(*LISTED)}</x:ColumnSet><x:Criteria/><x:Distinct>false</x:Distinct>'
        "<x:EntityName>mailbox</x:EntityName><x:LinkEntities/><x:Orders/></query>")
    body = envelope(operation("RetrieveMultiple", query))

    assert session.post(address(service), data=body, headers={"Content-Type": "text/xml"}).content.count(b"<a:Entity>") == PAGE
    assert session.get(f"{service.api}/mailboxes?$select={selected}").content.count(b'"mailboxid"') == PAGE
    # Measures with h2load, because Python takes as long to read 6 MB as the service takes to write them.
    ours, reference = paired(
        lambda: PAGE * load(service, address(service), body, "text/xml"),
        lambda: PAGE * load(service, f"mailboxes?$select={selected}"))
    record("soap/list", ours / reference, ">= 0.5", rowsPerSecond=round(ours), webAPI=round(reference))


def requests(service, count, body):
    """Sends `count` reads. Any response without a status 2xx ends the measurement."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        command = ["h2load", "--h1", "-c", str(CONNECTIONS), "-t", "1", "-n", str(count), "-H", f"Authorization: Bearer {service.token()}"]
        command += ["-d", file.name, "-H", "Content-Type: text/xml", address(service)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"status codes: {count} 2xx", output), output


def run(names):
    service = Deployment()
    try:
        service.start()
        if "soap/list" in names:
            run_list(service)
        id = service.create("mailboxes", {"name": "bench", "password": "s"})
        if "soap/read" in names:
            ours, reference = paired(
                lambda: load(service, address(service), retrieve(id), "text/xml"),
                lambda: load(service, f"mailboxes({id})?$select={','.join(READ)}"))
            record("soap/read", ours / reference, ">= 0.8", requestsPerSecond=round(ours), webAPI=round(reference))
        if "soap/memory" in names:
            requests(service, 1_000, retrieve(id))
            before = resident(service)
            requests(service, 99_000, retrieve(id))
            record("soap/memory", resident(service) / before, "<= 1.1", mebibytes=round(resident(service), 1), before=round(before, 1))
    finally:
        service.remove()
