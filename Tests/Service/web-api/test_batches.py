"""Batches as JSON and as multipart: order, change sets, references between parts, failures, and malformed batches."""

import json
import uuid

import pytest
from service import refused


def multipart(service, *parts, boundary="b", **headers):
    body = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return service.request("POST", "$batch", body.encode(), Content_Type=f'multipart/mixed; boundary="{boundary}"', **headers)


def part(method, url, body=None, id=None, headers=""):
    mime = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n" + (f"Content-ID: {id}\r\n" if id else "")
    return f"{mime}\r\n{method} {url} HTTP/1.1\r\n{headers}" + (f"Content-Type: application/json\r\n\r\n{json.dumps(body)}" if body is not None else "\r\n")


def change_set(*parts):
    return 'Content-Type: multipart/mixed; boundary="c"\r\n\r\n' + "".join(f"--c\r\n{p}\r\n" for p in parts) + "--c--\r\n"


def statuses(response):
    return [int(line.split()[1]) for line in response.text.split("\r\n") if line.startswith("HTTP/1.1 ")]


def batch(service, requests, **headers):
    return service.request("POST", "$batch", {"requests": requests}, Content_Type="application/json", **headers)


def test_requests_run_in_order_and_stop_at_the_first_that_fails(service):
    name = f"batch {uuid.uuid4()}"
    parts = [
        part("POST", "queues", {"name": name}, id=1), part("GET", f"{service.api}/queues?$filter=name eq '{name}'"),
        part("GET", "/contoso/api/data/v9.2/WhoAmI"), part("GET", "$1?$select=name"), part("GET", "queues(nosuch"), part("GET", "WhoAmI")]
    response = multipart(service, *parts)
    assert response.status_code == 400 and "charset=utf-8" in response.headers["Content-Type"]
    assert statuses(response) == [204, 200, 200, 200, 400] and response.text.count(f'"name":"{name}"') == 2
    assert statuses(multipart(service, *parts[1:], Prefer="odata.continue-on-error")) == [200, 200, 400, 400, 200]


def test_a_change_set_happens_as_a_whole_or_not_at_all(service):
    name = f"set {uuid.uuid4()}"
    profile = part("POST", "emailserverprofiles", {"name": name, "incomingpassword": "a"}, id="p")
    mailbox = part("POST", "mailboxes", {"name": name, "password": "b", "emailserverprofile@odata.bind": "$p"}, id="m")
    update = part("PATCH", "$m", {"password": "c"}, id="u")
    failing = part("PATCH", f"mailboxes({uuid.uuid4()})", {"name": "nobody"}, id="x", headers="If-Match: *\r\n")
    response = multipart(service, change_set(profile, mailbox, update, failing))
    assert statuses(response) == [404]
    assert service.get(f"emailserverprofiles?$filter=name eq '{name}'").json()["value"] == []
    assert statuses(multipart(service, change_set(profile, mailbox, update))) == [204, 204, 204]
    (found,) = service.get(f"mailboxes?$filter=name eq '{name}'&$expand=emailserverprofile").json()["value"]
    assert found["emailserverprofile"]["name"] == name
    assert service.opened_cells()[f"mailbox({found['mailboxid']}).password"][1] == "c"


def test_each_change_set_numbers_its_requests(service):
    name = f"numbered {uuid.uuid4()}"
    first = change_set(part("POST", "queues", {"name": f"{name} 1"}, id=1), part("PATCH", "$1", {"description": "first"}, id=2))
    second = change_set(part("POST", "queues", {"name": f"{name} 2"}, id=1), part("PATCH", "$1", {"description": "second"}, id=2))
    response = multipart(service, first, second, part("GET", "$1?$select=description"))
    assert statuses(response) == [204, 204, 204, 204, 200], response.text
    # If two parts of a batch have the same id, a reference means the later one.
    assert '"description":"second"' in response.text and '"description":"first"' not in response.text
    # An id must be unique in a change set, and in a JSON batch also in the whole batch.
    twice = [part("POST", "queues", {"name": name}, id=1) for _ in range(2)]
    assert "Content-ID 1" in multipart(service, change_set(*twice)).text
    grouped = [{"id": "1", "atomicityGroup": group, "method": "POST", "url": "queues", "headers": {"Content-Type": "application/json"}, "body": {"name": name}}
               for group in ("a", "b")]
    assert batch(service, grouped).status_code == 400
    assert service.get(f"queues?$filter=name eq '{name}'").json()["value"] == []


def test_json_batches(service):
    name = f"json {uuid.uuid4()}"
    response = batch(service, [
        {"id": "1", "atomicityGroup": "g", "method": "POST", "url": "queues", "body": {"name": name}, "headers": {"content-type": "application/json"}},
        {"id": "2", "atomicityGroup": "g", "method": "PATCH", "url": "$1", "body": {"description": "d"}},
        {"id": "3", "method": "GET", "url": f"queues?$filter=name eq '{name}'&$select=description"},
        {"id": "4", "method": "GET", "url": "/nosuch"}])
    answers = response.json()["responses"]
    assert [(a["id"], a["status"]) for a in answers] == [("1", 204), ("2", 204), ("3", 200), ("4", 404)]
    assert answers[2]["body"]["value"][0]["description"] == "d" and answers[3]["body"]["error"]["code"] == "0x8006088A"


def test_a_byte_order_mark_before_json_is_ignored(service):
    mark, name = "\ufeff", f"mark {uuid.uuid4()}"
    send = {"Content_Type": "application/json"}
    queue = str(uuid.uuid4())
    assert service.request("POST", "queues", f'{mark}{{"queueid": "{queue}", "name": "{name}"}}'.encode(), **send).status_code == 204
    assert service.request("PUT", f"queues({queue})/description", f'{mark}{{"value": "one"}}'.encode(), **send).status_code == 204
    many = f'{mark}{{"Targets": [{{"@odata.type": "Microsoft.Dynamics.CRM.queue", "name": "{name}"}}]}}'.encode()
    assert service.request("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", many, **send).status_code == 200
    whole = mark + json.dumps({"requests": [
        {"id": "1", "method": "PATCH", "url": f"queues({queue})", "body": {"description": "two"}, "headers": {"Content-Type": "application/json"}}]})
    assert [r["status"] for r in service.request("POST", "$batch", whole.encode(), **send).json()["responses"]] == [204]
    marked = part("PATCH", f"queues({queue})", {"description": "three"}).replace("\r\n\r\n{", f"\r\n\r\n{mark}{{")
    # The service replaces a reference in a part's body before it parses the body.
    made = part("POST", "emailserverprofiles", {"name": name}, id=1).replace("\r\n\r\n{", f"\r\n\r\n{mark}{{")
    bound = part("POST", "mailboxes", {"name": name, "emailserverprofile@odata.bind": "$1"}, id=2).replace("\r\n\r\n{", f"\r\n\r\n{mark}{{")
    assert statuses(multipart(service, marked, change_set(made, bound))) == [204, 204, 204]
    assert service.get(f"queues({queue})").json()["description"] == "three"
    (box,) = service.get(f"mailboxes?$filter=name eq '{name}'&$expand=emailserverprofile").json()["value"]
    assert box["emailserverprofile"]["name"] == name
    # A body in UTF-16, and a body with two byte order marks, are refused.
    for body in (mark + json.dumps({"name": name}), json.dumps({"name": name})):
        refused(service.request("POST", "queues", (mark + body).encode("utf-16-le"), **send), 400, "0x80048D19")
    refused(service.request("POST", "queues", (mark * 2 + json.dumps({"name": name})).encode(), **send), 400, "0x80048D19")


def test_a_secret_in_a_batch_is_read_as_null(service):
    id = service.create("mailboxes", {"name": "batch", "password": "canary of a batch"})
    response = multipart(
        service, part("GET", f"mailboxes({id})"), change_set(part("PATCH", f"mailboxes({id})", {"password": "canary two"}, headers="Prefer: return=representation\r\n")))
    assert statuses(response) == [200, 200] and "canary" not in response.text and response.text.count('"password":null') == 2


@pytest.mark.parametrize(
    "body, type",
    [
        (b"", "multipart/mixed; boundary=b"), (b"--b\r\n", "multipart/mixed; boundary=b"), (b"--b--\r\n--b", "multipart/mixed"), (b"x", "text/plain"), (b"{}", "application/json"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", "multipart/mixed; boundary=b"), (b"--b\r\nContent-Type: application/http\r\n\r\nGET\r\n--b--\r\n", "multipart/mixed; boundary=b"),
        (b'{"requests":[{"id":1}]}', "application/json"), (b'{"requests":' + b"[" * 3000, "application/json"), (b"--b\r\nno header\r\n\r\n--b--\r\n", "multipart/mixed; boundary=b"),
    ],
)
def test_what_is_no_batch_is_refused(service, body, type):
    response = service.request("POST", "$batch", body, Content_Type=type)
    assert response.status_code == 400 and response.json()["error"]["code"] in ("0x8005F100", "0x80048D19")


def test_a_thousand_requests_and_not_one_more(service):
    request = {"method": "GET", "url": "queues?$top=0"}
    response = batch(service, [{"id": str(n), **request} for n in range(1_000)])
    assert len(response.json()["responses"]) == 1_000 and {a["status"] for a in response.json()["responses"]} == {200}
    refused(batch(service, [{"id": str(n), **request} for n in range(1_001)]), 400, "0x8005F100")
    too_many = {"Targets": [{"name": "x"}] * 1_001}
    refused(service.request("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", too_many), 400, "0x80048D19")
    refused(service.request("POST", "$batch", b"x" * (17 << 20), Content_Type="application/json"), 413, "0x8004418A")


def test_a_batch_holds_no_batch_and_a_change_set_no_read(service):
    inner = batch(service, [{"id": "1", "method": "POST", "url": "$batch", "body": {"requests": []}}]).json()["responses"]
    assert [a["status"] for a in inner] == [400]
    assert statuses(multipart(service, change_set(part("GET", "queues", id=1)))) == [400]


def test_bulk_delete_needs_a_condition(service):
    query = {"EntityName": "queue", "Criteria": {"FilterOperator": "And", "Conditions": []}}
    refused(service.request("POST", "BulkDelete", {"QuerySet": [query]}), 400, "0x80048D19")
    refused(service.request("POST", "BulkDelete", {"QuerySet": [{"EntityName": "nosuch"}]}), 400, "0x80048D19")
    encrypted = {"EntityName": "queue", "Criteria": {"Conditions": [{"AttributeName": "emailpassword", "Operator": "NotNull", "Values": []}]}}
    refused(service.request("POST", "BulkDelete", {"QuerySet": [encrypted]}), 400, "0x80060888")


def test_the_responses_of_a_batch_hold_a_bounded_number_of_records(service):
    query = "sdkmessagefilters?$select=sdkmessagefilterid"
    rows = len(service.get(query).json()["value"])
    allowed = 50_000 // rows
    requests = [{"id": str(n), "method": "GET", "url": query} for n in range(allowed + 2)]
    response = batch(service, requests)
    assert response.status_code == 400
    answers = response.json()["responses"]
    assert [a["status"] for a in answers] == [200] * allowed + [400]
    assert answers[-1]["body"]["error"]["code"] == "0x80060888" and "50000 records" in answers[-1]["body"]["error"]["message"]
    # With continue-on-error, later parts whose response has no records succeed, and writes are done.
    name = f"after the limit {uuid.uuid4()}"
    requests += [{"id": "w", "method": "GET", "url": "WhoAmI"}, {"id": "c", "method": "POST", "url": "queues", "body": {"name": name}}]
    answers = batch(service, requests, Prefer="odata.continue-on-error").json()["responses"]
    assert [a["status"] for a in answers] == [200] * allowed + [400, 400, 200, 204]
    assert service.get(f"queues/$count?$filter=name eq '{name}'").text == "1"


def test_a_link_is_taken_off_as_it_is_then(service):
    """In a change set, a part that removes a link sees the links as earlier parts left them."""
    first, second = (service.create("emailserverprofiles", {"name": f"link {uuid.uuid4()}"}) for _ in range(2))
    mailbox = service.create("mailboxes", {"name": "linked", "emailserverprofile@odata.bind": f"/emailserverprofiles({first})"})

    def linked():
        return service.get(f"mailboxes({mailbox})?$select=_emailserverprofile_value").json()["_emailserverprofile_value"]

    move = part("PATCH", f"mailboxes({mailbox})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({second})"}, id=1)
    response = multipart(service, change_set(move, part("DELETE", f"emailserverprofiles({first})/emailserverprofile_mailbox({mailbox})/$ref", id=2)))
    assert response.status_code == 404 and linked() == first
    response = multipart(service, change_set(move, part("DELETE", f"emailserverprofiles({second})/emailserverprofile_mailbox({mailbox})/$ref", id=2)))
    assert response.status_code == 200 and linked() is None


FOREIGN = [
    "https://evil.test/contoso/api/data/v9.2/{}", "https://localhost.evil.test/contoso/api/data/v9.2/{}", "{host}/fabrikam/api/data/v9.2/{}",
    "/fabrikam/api/data/v9.2/{}", "//evil.test/contoso/api/data/v9.2/{}", "https://user@evil.test/contoso/api/data/v9.2/{}",
    "http://localhost/contoso/api/data/v9.2/{}",
]


@pytest.mark.parametrize("form", FOREIGN)
def test_an_address_of_another_organization_is_not_taken_for_this_ones(service, form):
    queue = service.create("queues", {"name": f"foreign {uuid.uuid4()}"})
    owner = service.get(f"queues({queue})?$select=_ownerid_value").json()["_ownerid_value"]

    def foreign(path):
        return form.format(path, host=service.api.split("/contoso/")[0])
    assert statuses(multipart(service, part("DELETE", foreign(f"queues({queue})")))) == [400]
    assert batch(service, [{"id": "1", "method": "DELETE", "url": foreign(f"queues({queue})")}]).json()["responses"][0]["status"] == 400
    address = foreign(f"systemusers({owner})")
    refused(service.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": address}), 400, "0x8005F100")
    refused(service.request("PUT", f"queues({queue})/ownerid/$ref", {"@odata.id": address}), 400, "0x8005F100")
    refused(service.request("POST", "queues", {"name": "x", "ownerid@odata.bind": address}), 400, "0x8005F100")
    # Addresses of this service are accepted in each form that clients use.
    for own in (f"{service.api}/systemusers({owner})", f"/contoso/api/data/v9.1/systemusers({owner})", f"/systemusers({owner})", f"systemusers({owner})"):
        assert service.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": own}).status_code == 204
        assert statuses(multipart(service, part("GET", own))) == [200]


def test_a_part_is_sent_by_the_client_that_sent_the_batch(service):
    token = f"Bearer {service.token()}"
    assert statuses(multipart(service, part("GET", "WhoAmI", headers="Authorization: Bearer another\r\n"))) == [400]
    assert batch(service, [{"id": "1", "method": "GET", "url": "WhoAmI", "headers": {"authorization": "Bearer x"}}]).json()["responses"][0]["status"] == 400
    assert statuses(multipart(service, part("GET", "WhoAmI", headers="Host: evil.test\r\n"))) == [400]
    host = service.api.split("/")[2]
    assert statuses(multipart(service, part("GET", "WhoAmI", headers=f"Host: {host}\r\nAuthorization: {token}\r\n"))) == [200]


def test_requests_that_depend_on_a_failed_one_are_not_done(service):
    name = f"depends {uuid.uuid4()}"

    def create(id, suffix, **members):
        return {"id": id, "method": "POST", "url": "queues", "headers": {"Content-Type": "application/json"}, "body": {"name": name + suffix}, **members}
    response = batch(service, [
        {"id": "1", "method": "GET", "url": "nope"}, create("2", "a", dependsOn=["1"]), create("3", "b", dependsOn=["2"]),
        create("4", "c", atomicityGroup="g"), create("5", "d", atomicityGroup="g", dependsOn=["1"]), create("6", "e", dependsOn=["g"]),
        create("7", "f"), create("8", "g", dependsOn=["7"]),
    ], Prefer="odata.continue-on-error")
    assert [r["status"] for r in response.json()["responses"]] == [404, 424, 424, 424, 424, 204, 204]
    assert sorted(q["name"] for q in service.get(f"queues?$filter=startswith(name,'{name}')").json()["value"]) == [name + "f", name + "g"]


@pytest.mark.parametrize("members", [
    {"if": "false"}, {"foo": 1}, {"dependsOn": ["later"]}, {"dependsOn": "0"}, {"dependsOn": [1]}, {"id": "0"}, {"id": 1}, {"body": {}}, {"atomicityGroup": 5},
    {"headers": []}, {"headers": {"Prefer": 1}},
])
def test_what_a_json_batch_does_not_know_is_refused_before_anything_is_done(service, members):
    name = f"unknown {uuid.uuid4()}"
    first = {"id": "0", "method": "POST", "url": "queues", "headers": {"Content-Type": "application/json"}, "body": {"name": name}}
    assert batch(service, [first, {"id": "1", "method": "GET", "url": "WhoAmI"} | members]).status_code == 400
    assert service.get(f"queues?$filter=name eq '{name}'").json()["value"] == []


def test_a_part_has_the_length_that_it_says(service):
    body = {"name": f"length {uuid.uuid4()}"}
    length = len(json.dumps(body))
    for said, status in ((length, 204), (length + 2, 204), (5, 400), (length - 1, 400), (length + 50, 400), ("x", 400)):
        response = multipart(service, part("POST", "queues", body, headers=f"Content-Length: {said}\r\n"))
        assert response.status_code == (200 if status == 204 else 400), said


def test_an_address_means_in_a_batch_what_it_means_alone(service):
    """A plus in a query is a space, in a single request and in each form of a batch. In a path, it is a plus."""
    name = f"plus {uuid.uuid4().hex[:8]}"
    for text in (f"{name} a", f"{name}+a"):
        service.create("queues", {"name": text})
    words = name.replace(" ", "+")
    for url, expected in (
            (f"queues?$select=name&$filter=startswith(name,'{name}+')", [f"{name} a"]), (f"queues?$select=name&$filter=name+eq+'{words}+a'", [f"{name} a"]),
            (f"queues?$select=name&$filter=startswith(name,'{name}%2B')", [f"{name}+a"])):
        alone = [q["name"] for q in service.get(url).json()["value"]]
        in_json = [q["name"] for q in batch(service, [{"id": "1", "method": "GET", "url": url}]).json()["responses"][0]["body"]["value"]]
        assert alone == in_json == expected, url
        answer = multipart(service, part("GET", url))
        assert statuses(answer) == [200] and [text in answer.text for text in (f'"{name} a"', f'"{name}+a"')] == [text in expected for text in (f"{name} a", f"{name}+a")], url
    key = f"queues(name='{name}+a')?$select=name"
    assert service.get(key).json()["name"] == batch(service, [{"id": "1", "method": "GET", "url": key}]).json()["responses"][0]["body"]["name"] == f"{name}+a"
    # A percent sign that begins no escape is used as it is.
    assert statuses(multipart(service, part("GET", f"queues?$filter=contains(name,'50%') and name eq '{name}'"))) == [200]


def test_a_batch_has_requests_and_annotations_alone(service):
    requests = [{"id": "1", "method": "GET", "url": "WhoAmI"}]
    refused(service.request("POST", "$batch", {"requests": requests, "foo": 1}, Content_Type="application/json"), 400, "0x80048D19")
    assert service.request("POST", "$batch", {"requests": requests, "@x.note": 1}, Content_Type="application/json").status_code == 200


def test_the_response_of_a_group_that_failed_has_an_id(service):
    change = {"atomicityGroup": "g", "method": "POST", "url": "queues", "headers": {"Content-Type": "application/json"}}
    requests = [{"id": "a", **change, "body": {"name": "x"}}, {"id": "b", **change, "body": {"nosuch": 1}}]
    [answer] = batch(service, requests).json()["responses"]
    assert (answer["id"], answer["status"]) == ("a", 400)


@pytest.mark.parametrize("reference", [
    {"emailserverprofile@odata.bind": "$1"}, {"emailserverprofile@odata.bind": "/$1"}, {"emailserverprofile": {"@odata.id": "$1"}}])
def test_an_id_stands_wherever_an_address_may(service, reference):
    content = {"Content-Type": "application/json"}
    requests = [{"id": "1", "method": "POST", "url": "emailserverprofiles", "headers": content, "body": {"name": "batched"}},
                {"id": "2", "method": "POST", "url": "mailboxes", "headers": content, "body": {"name": "batched $1", **reference}},
                {"id": "3", "method": "GET", "url": "$2?$select=name&$expand=emailserverprofile($select=name)"}]
    answers = batch(service, requests).json()["responses"]
    assert [a["status"] for a in answers] == [204, 204, 200], answers
    assert answers[2]["body"]["name"] == "batched $1" and answers[2]["body"]["emailserverprofile"]["name"] == "batched"


def test_a_list_of_ids_refers_to_earlier_requests(service):
    content = {"Content-Type": "application/json"}
    requests = [{"id": "1", "method": "POST", "url": "mailboxes", "headers": content, "body": {"name": "listed"}},
                {"id": "2", "method": "POST", "url": "emailserverprofiles", "headers": content, "body": {"name": "p", "emailserverprofile_mailbox@odata.bind": ["$1"]}},
                {"id": "3", "method": "GET", "url": "$1?$select=name&$expand=emailserverprofile($select=name)"}]
    answers = batch(service, requests).json()["responses"]
    assert [a["status"] for a in answers] == [204, 204, 200] and answers[2]["body"]["emailserverprofile"]["name"] == "p", answers


CONTENT = {"Content-Type": "application/json"}
#: A body that the service refuses, because the entity has no such attribute.
WRONG = {"nosuch": 1}


def queues(service, name):
    """The descriptions of the queues by the rest of their names, after `name`. A queue that a PATCH created has no name, only a description."""
    found = service.get(f"queues?$filter=startswith(name,'{name}') or startswith(description,'{name}')&$select=name,description").json()["value"]
    return {q["name"] and q["name"].removeprefix(name): q["description"] for q in found}


@pytest.mark.parametrize("failing", ["set", "first of a set", "alone", "set after another", "set after one alone", "alone after another"])
def test_the_id_of_what_failed_names_no_record(service, failing):
    """A reference to a part that failed must not find the record that was rolled back. It must not find an older record with the same id in the batch
    either."""
    name = f"failed {uuid.uuid4()} "
    made, older = part("POST", "queues", {"name": f"{name}made"}, id=1), part("POST", "queues", {"name": f"{name}older"}, id=1)
    wrong, other = part("POST", "queues", WRONG, id=1), part("POST", "queues", WRONG, id=2)
    parts = {"set": [change_set(made, other)], "first of a set": [change_set(wrong, made.replace("Content-ID: 1", "Content-ID: 2"))], "alone": [wrong],
             "set after another": [change_set(older), change_set(made, other)], "set after one alone": [older, change_set(made, other)], "alone after another": [older, wrong]}[failing]
    control = [part("POST", "queues", {"name": f"{name}control"}, id=3), part("PATCH", "$3", {"description": "control"})]
    email = {"subject": name, "regardingobjectid_queue@odata.bind": "$1"}
    referring = [part("PATCH", "$1", {"description": f"{name}referred"}), part("DELETE", "$1"), change_set(part("PATCH", "$1", {"description": f"{name}referred"})), part("PUT", "$1/description", {"value": f"{name}referred"}),
                 part("POST", "mailboxes", {"name": name, "regardingobjectid_queue@odata.bind": "$1"}), change_set(part("POST", "emails", email)), part("GET", "$1")]
    response = multipart(service, *parts, *control, *referring, Prefer="odata.continue-on-error")
    older = {"older": None} if "after" in failing else {}
    assert statuses(response) == [204] * len(older) + [400, 204, 204] + [400] * len(referring), response.text
    assert response.text.count("refers to $1, which failed. Nothing was done.") == len(referring)
    assert queues(service, name) == older | {"control": "control"}


def test_the_id_of_what_failed_names_a_record_again_once_a_later_request_has_it(service):
    name = f"again {uuid.uuid4()} "
    response = multipart(
        service, change_set(part("POST", "queues", {"name": f"{name}a"}, id=1), part("POST", "queues", WRONG, id=2)), change_set(part("POST", "queues", {"name": f"{name}b"}, id=1)),
        part("PATCH", "$1", {"description": "b"}), Prefer="odata.continue-on-error")
    assert statuses(response) == [400, 204, 204] and queues(service, name) == {"b": "b"}


def test_the_id_of_a_group_that_failed_names_no_record(service):
    name = f"group {uuid.uuid4()} "

    def create(id, **members):
        return {"id": id, "method": "POST", "url": "queues", "headers": CONTENT, "atomicityGroup": "g", "body": members}
    profile = {"id": "p", "method": "POST", "url": "emailserverprofiles", "headers": CONTENT, "body": {"name": name}}
    taken = batch(service, [profile]).json()["responses"][0]["headers"]["odata-entityid"]
    requests = [create("a", name=f"{name}a"), create("b", **WRONG), {"id": "c", "method": "PATCH", "url": "$a", "headers": CONTENT, "body": {"description": f"{name}referred"}},
                {"id": "d", "method": "DELETE", "url": f"{taken}/emailserverprofile_mailbox/$ref?$id=$a"}, {"id": "e", "method": "GET", "url": "$a?$select=name"}, {"id": "f", "method": "GET", "url": "WhoAmI"}]
    answers = batch(service, requests, Prefer="odata.continue-on-error").json()["responses"]
    assert [(a["id"], a["status"]) for a in answers] == [("a", 400), ("c", 400), ("d", 400), ("e", 400), ("f", 200)], answers
    assert all("refers to $a, which failed" in a["body"]["error"]["message"] for a in answers[1:4])
    assert queues(service, name) == {}
