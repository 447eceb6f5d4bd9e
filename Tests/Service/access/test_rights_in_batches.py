"""If a part of a batch takes a right away, later parts don't have it. If a part gives a right, the next part has it."""

import pytest
from service import refused
from soap import entity, execute, parameter, reference
from test_associations import ROLES, TEAM_ROLES, client_of, link
from test_batches import batch, change_set, multipart, part

CONTINUES = {"Prefer": "odata.continue-on-error"}
GET_KEY = "RetrieveDataEncryptionKey()"


@pytest.fixture(scope="module")
def roles(service):
    return {r["name"]: r["roleid"] for r in service.get("roles?$select=name").json()["value"]}


@pytest.fixture
def deputy(service, roles):
    """A Basic User who is a System Administrator through a team: (token, systemuserid, team)."""
    token, user = client_of(service, "Basic User")
    team = service.create("teams", {"name": f"deputies {user}"})
    assert link(service, f"teams({team})/{TEAM_ROLES}", f"roles({roles['System Administrator']})").status_code == 204
    assert link(service, f"teams({team})/teammembership_association", f"systemusers({user})").status_code == 204
    assert service.get(GET_KEY, token=token).status_code == 200
    return token, user, team


def in_json(service, *parts, **options):
    answer = batch(service, [
        {"id": str(number), "method": method, "url": url, "headers": {"Content-Type": "application/json", **headers}, **({"body": body} if body else {})}
        for number, (method, url, body, headers) in enumerate(parts)], **CONTINUES, **options)
    return [each["status"] for each in answer.json()["responses"]], answer.text


def in_multipart(service, *parts, **options):
    content = [part(method, url, body, headers="".join(f"{name}: {value}\r\n" for name, value in headers.items())) for method, url, body, headers in parts]
    answer = multipart(service, *content, **CONTINUES, **options)
    return [int(line.split()[1]) for line in answer.text.split("\r\n") if line.startswith("HTTP/1.1 ")], answer.text


FORMS = [in_json, in_multipart]


def plain(method, url, body=None, **headers):
    return method, url, body, headers


@pytest.mark.parametrize("send", FORMS)
def test_a_batch_keeps_no_right_that_one_of_its_parts_takes_away(service, roles, deputy, send):
    token, user, team = deputy
    own_role = {"@odata.id": f"roles({roles['System Administrator']})"}
    found, text = send(
        service, plain("GET", GET_KEY), plain("DELETE", f"teams({team})"), plain("GET", GET_KEY), plain("GET", "audits?$top=1"),
        plain("POST", "teams", {"name": f"mine {user}"}), plain("POST", f"systemusers({user})/{ROLES}/$ref", own_role),
        plain("GET", "WhoAmI"), token=token)
    assert found == [200, 204, 403, 403, 403, 403, 200], text
    assert text.count('"EncryptionKey"') == 1
    refused(service.get(GET_KEY, token=token), 403, "0x80040220")


@pytest.mark.parametrize("send", FORMS)
def test_a_user_that_is_disabled_is_refused_from_the_next_part_on(service, deputy, send):
    _, user, _ = deputy
    # An administrator sends the batch, and some parts are in the name of the user.
    found, text = send(
        service, plain("GET", "queues?$top=1", MSCRMCallerID=user), plain("PATCH", f"systemusers({user})", {"isdisabled": True}),
        plain("GET", "queues?$top=1", MSCRMCallerID=user), plain("POST", "emails", {"subject": "as one who left"}, MSCRMCallerID=user),
        plain("PATCH", f"systemusers({user})", {"isdisabled": False}), plain("GET", "queues?$top=1", MSCRMCallerID=user))
    assert found[:2] == [200, 204] and found[2] == found[3] == 403 and found[4:] == [204, 200], text


def test_a_change_set_has_the_rights_of_its_beginning(service, deputy):
    token, user, team = deputy
    answer = multipart(
        service, change_set(part("DELETE", f"teams({team})", id=1)), change_set(part("POST", "teams", {"name": f"mine {user}"}, id=1)),
        token=token)
    assert "HTTP/1.1 204" in answer.text and "HTTP/1.1 403" in answer.text, answer.text
    assert service.get(f"teams?$filter=name eq 'mine {user}'").json()["value"] == []


def test_what_a_part_gives_the_next_one_has(service, roles):
    token, user = client_of(service, "Basic User")
    found, text = in_json(
        service, plain("GET", "emailserverprofiles?$top=1", MSCRMCallerID=user),
        plain("POST", f"systemusers({user})/{ROLES}/$ref", {"@odata.id": f"roles({roles['Email Administrator']})"}),
        plain("GET", "emailserverprofiles?$top=1", MSCRMCallerID=user))
    assert found == [403, 204, 200], text
    assert service.get("emailserverprofiles?$top=1", token=token).status_code == 200


def inner(name, parameters):
    return f"<m:OrganizationRequest><x:Parameters>{parameters}</x:Parameters><x:RequestName>{name}</x:RequestName></m:OrganizationRequest>"


def test_execute_multiple_keeps_no_right_either(service, deputy):
    token, user, team = deputy
    made = entity("team", parameter("name", "string", f"mine {user}"))
    requests = inner("RetrieveDataEncryptionKey", "") + inner("Delete", parameter("Target", "x:EntityReference", reference("team", team))) + inner(
        "RetrieveDataEncryptionKey", "") + inner("Create", parameter("Target", "x:Entity", made)) + inner("WhoAmI", "")
    settings = "<m:ContinueOnError>true</m:ContinueOnError><m:ReturnResponses>true</m:ReturnResponses>"
    found = execute(
        service, "ExecuteMultiple", parameter("Requests", "m:OrganizationRequestCollection", requests)
        + parameter("Settings", "m:ExecuteMultipleSettings", settings), token=token)["Responses"]
    codes = [item.findtext("{*}Fault/{*}ErrorCode") for item in found]
    denied = str(0x80040220 - (1 << 32))
    assert codes == [None, None, denied, denied, None]
    assert service.get(f"teams?$filter=name eq 'mine {user}'").json()["value"] == []
