"""Writing an answer with a long text takes long. Threads other than the event loops, which serve all clients, do that."""

import os
import pathlib

import pytest
from soap import DECLARATIONS, SERVICES, parameter, reference, send

LENGTH = 6 << 20
COLUMNS = "<x:AllColumns>false</x:AllColumns><x:Columns><a:string>subject</a:string><a:string>description</a:string></x:Columns>"


@pytest.fixture(scope="module")
def email(service):
    """An e-mail with a text of 6 MiB, in which each tenth character has to be escaped."""
    id = service.create("emails", {"subject": "long"})
    service.sql("UPDATE org_contoso.email SET description = repeat('abcdefghi<', %s) WHERE activityid = %s", [LENGTH // 10, id])
    return id


def seconds(process):
    """The seconds of processor time of the event loops, and of all threads."""
    total, loops = 0, {}
    for task in sorted(pathlib.Path(f"/proc/{process}/task").iterdir(), key=lambda task: int(task.name)):
        name, fields = (task / "comm").read_text(), (task / "stat").read_text().rsplit(")", 1)[1].split()
        used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        total += used
        # The threads that an event loop makes get its name. So only the oldest thread of a name is the loop.
        if name.startswith("NIO-"):
            loops.setdefault(name, used)
    return sum(loops.values()), total


def envelope(operation):
    return f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{operation}</s:Body></s:Envelope>'


def soap(operation):
    return lambda service, id: send(service, envelope(operation(id)))


def retrieve(id):
    return f'<Retrieve xmlns="{SERVICES}" {DECLARATIONS}><entityName>email</entityName><id>{id}</id><columnSet>{COLUMNS}</columnSet></Retrieve>'


def query(id):
    return (
        f'{COLUMNS.join(("<x:ColumnSet>", "</x:ColumnSet>"))}<x:Criteria><x:Conditions><x:ConditionExpression><x:AttributeName>activityid</x:AttributeName><x:Operator>Equal</x:Operator>'
        f'<x:Values><a:anyType i:type="xs:string">{id}</a:anyType></x:Values></x:ConditionExpression></x:Conditions></x:Criteria><x:EntityName>email</x:EntityName>')


def execute(name, parameters):
    return (
        f'<Execute xmlns="{SERVICES}" {DECLARATIONS} xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><request><x:Parameters>{parameters}</x:Parameters>'
        f'<x:RequestId i:nil="true"/><x:RequestName>{name}</x:RequestName></request></Execute>')


def batch(service, id):
    return service.request(
        "POST", "$batch", {"requests": [{"id": "1", "method": "GET", "url": f"emails({id})?$select=description"}]},
        Accept="application/json", Content_Type="application/json")


WAYS = {
    "Retrieve": soap(retrieve),
    "RetrieveMultiple": soap(lambda id: (
        f'<RetrieveMultiple xmlns="{SERVICES}" {DECLARATIONS} xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><query i:type="x:QueryExpression">{query(id)}</query></RetrieveMultiple>')),
    "Execute Retrieve": soap(lambda id: execute("Retrieve", parameter("Target", "x:EntityReference", reference("email", id)) + parameter("ColumnSet", "x:ColumnSet", COLUMNS))),
    "Execute RetrieveMultiple": soap(lambda id: execute("RetrieveMultiple", parameter("Query", "x:QueryExpression", query(id)))),
    "record": lambda service, id: service.get(f"emails({id})?$select=description"),
    "record without metadata": lambda service, id: service.get(f"emails({id})?$select=description", Accept="application/json;odata.metadata=none"),
    "list": lambda service, id: service.get(f"emails?$select=description&$filter=activityid eq {id}"),
    "property": lambda service, id: service.get(f"emails({id})/description"),
    "batch": batch,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_event_loop_writes_a_long_text(service, email, way):
    service.token()
    before = seconds(service.process.pid)
    answers = [WAYS[way](service, email) for _ in range(3)]
    loops, total = (now - then for now, then in zip(seconds(service.process.pid), before))
    assert all(answer.status_code == 200 and len(answer.content) >= LENGTH for answer in answers), answers[0].text[:500]
    assert loops < total / 3, (loops, total)


def test_the_figures_tell_loops_from_other_threads(service):
    """The control: reading short records is the work of the event loops alone."""
    service.token()
    before = seconds(service.process.pid)
    for _ in range(50):
        assert service.get("queues?$top=1").status_code == 200
    loops, _ = (now - then for now, then in zip(seconds(service.process.pid), before))
    assert loops > 0
