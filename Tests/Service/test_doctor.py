"""`fieldseal doctor`: silent about what is well, and for each thing that is wrong a finding with the next step."""

import json

import pytest


def doctor(service, *arguments):
    result = service.run("doctor", "--json", *arguments, check=False)
    findings = json.loads(result.stdout)["findings"]
    assert all(set(f) == {"severity", "code", "subject", "message", "advice"} and all(f.values()) for f in findings)
    worst = max((["notice", "warning", "error"].index(f["severity"]) for f in findings), default=0)
    assert result.returncode == worst, result.stderr
    return {f["code"]: f for f in findings}


def test_a_deployment_that_is_well(own_service):
    # Until somebody copies the key out, that is what there is to say.
    assert set(doctor(own_service)) == {"key-never-copied"}
    own_service.key()
    assert doctor(own_service, "--deep") == {}
    assert own_service.run("doctor").stdout.strip() == "Nothing is wrong."


@pytest.mark.parametrize(
    "statement, code, repair",
    [
        ("ALTER TABLE org_contoso.mailbox DISABLE TRIGGER takes_cells_along", "fence-disabled", "ALTER TABLE org_contoso.mailbox ENABLE TRIGGER takes_cells_along"),
        ("DROP TRIGGER keeps_id ON org_contoso.queue", "fence-missing", None),
        ("ALTER EVENT TRIGGER fieldseal_refuse_index DISABLE", "no-event-trigger", "ALTER EVENT TRIGGER fieldseal_refuse_index ENABLE"),
        ("ALTER TABLE org_contoso.mailbox_cell_k1 SET UNLOGGED", "unlogged-cells", "ALTER TABLE org_contoso.mailbox_cell_k1 SET LOGGED"),
        ("GRANT fieldseal_owner TO fieldseal_service", "service-is-owner", "REVOKE fieldseal_owner FROM fieldseal_service"),
        ("INSERT INTO config.api_client SELECT gen_random_uuid(), organization_id, 'intruder', gen_random_uuid(), 'System Administrator', '\\x00', now(), 'x' FROM config.organization",
         "client-not-made-here", "DELETE FROM config.api_client WHERE name = 'intruder'"),
        ("UPDATE org_contoso.encryption SET changed_on = now() - interval '2 years'", "key-overdue", "UPDATE org_contoso.encryption SET changed_on = now()"),
        ("DELETE FROM config.migration WHERE name = '0004_sessions'", "migrations-pending", None),
    ],
)
def test_what_is_wrong_is_found(broken_service, statement, code, repair):
    broken_service.sql(statement)
    found = doctor(broken_service)
    assert code in found and found[code]["advice"], found
    if repair:
        broken_service.sql(repair)
        assert code not in doctor(broken_service)


@pytest.fixture(scope="module")
def broken_service():
    from service import Deployment

    deployment = Deployment()
    try:
        deployment.start()
        deployment.key()
        yield deployment
    finally:
        deployment.remove()


def test_a_lost_key_and_a_cell_that_does_not_open(own_service):
    own_service.key()
    first, second = (own_service.create("mailboxes", {"name": n, "password": n}) for n in ("a", "b"))
    own_service.sql(
        "UPDATE org_contoso.mailbox_cell AS c SET password = d.password FROM org_contoso.mailbox_cell AS d WHERE c.mailboxid = %s AND d.mailboxid = %s",
        [first, second])
    found = doctor(own_service, "--deep")
    assert first in found["cell-does-not-open"]["message"] and doctor(own_service) == {}
    own_service.sql("ALTER TABLE config.organization_key DISABLE TRIGGER ALL")
    own_service.sql("DELETE FROM config.organization_key")
    fingerprint = own_service.sql("SELECT fingerprint FROM org_contoso.encryption")[0][0]
    assert fingerprint in doctor(own_service)["key-required"]["message"]
