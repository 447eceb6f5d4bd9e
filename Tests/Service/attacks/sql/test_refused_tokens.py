"""After one server refused a token for good, every other server refuses it at its next request. A row that SQL wrote before does not change that."""

import hashlib
import time

import psycopg
import pytest
import requests
from service import PATIENCE, refused

#: A server reads the list of refused tokens again after this number of seconds.
INTERVAL = 5


def token_of(service, client="user"):
    return service.token_response(*service.dev["clients"][client].values()).json()["access_token"]


def digest(token):
    return hashlib.sha256(token.rpartition(".")[0].encode()).digest()


def revoke(service, token, client="user"):
    known = service.dev["clients"][client]
    form = {"token": token, "client_id": known["clientId"], "client_secret": known["clientSecret"]}
    answer = requests.post(f"{service.base}/contoso/oauth2/v2.0/revoke", data=form, verify=service.dev["caFile"], timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def as_service(service, statement, parameters):
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET ROLE fieldseal_service")
        return connection.execute(statement, parameters).fetchall()


def test_a_server_without_requests_for_a_while_knows_it_at_the_first_one(service):
    token = token_of(service)
    assert service.get("WhoAmI", token=token).status_code == 200
    # This is the row that another server writes when it refuses a token.
    as_service(service, "SELECT config.refuse_token(%s, now() + interval '1 hour', true)", [digest(token)])
    until = time.monotonic() + INTERVAL + 1
    while time.monotonic() < until:
        time.sleep(0.1)
    assert "was revoked" in refused(service.get("WhoAmI", token=token), 401, "0x80048405")


def test_an_earlier_row_shortens_no_refusal(service):
    token = token_of(service)
    count = "SELECT count(*) FROM org_contoso.security_event WHERE kind = 'token revoked'"
    before = service.sql(count)[0][0]
    as_service(service, "SELECT config.refuse_token(%s, now() + interval '3 seconds', true)", [digest(token)])
    revoke(service, token)
    [(seconds,)] = service.sql("SELECT extract(epoch FROM expires_on - now())::integer FROM config.exposed_token WHERE token_hash = %s", [digest(token)])
    assert seconds > 600 and service.sql(count)[0][0] == before + 1
    # A later row does not shorten the refusal.
    assert as_service(service, "SELECT config.refuse_token(%s, now() + interval '3 seconds', false)", [digest(token)]) == [(False,)]
    assert service.sql("SELECT is_revoked, expires_on > now() + interval '10 minutes' FROM config.exposed_token WHERE token_hash = %s", [digest(token)]) == [(True, True)]


@pytest.mark.parametrize("statement", [
    "INSERT INTO config.exposed_token VALUES (%s, now(), now() + interval '3 seconds') RETURNING 1", "DELETE FROM config.exposed_token WHERE token_hash = %s RETURNING 1",
    "UPDATE config.exposed_token SET expires_on = now() WHERE token_hash = %s RETURNING 1"])
def test_the_list_is_written_by_its_function_alone(service, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_service(service, statement, [bytes(32)])


def test_the_function_that_forgets_takes_what_has_expired_alone(service):
    token = token_of(service)
    revoke(service, token)
    gone = hashlib.sha256(token.encode()).digest()
    as_service(service, "SELECT config.refuse_token(%s, now() - interval '1 second', true)", [gone])
    as_service(service, "SELECT config.forget_exposed_tokens() IS NULL", [])
    assert service.sql("SELECT token_hash FROM config.exposed_token WHERE token_hash = ANY (%s)", [[gone, digest(token)]]) == [(digest(token),)]
    assert "was revoked" in refused(service.get("WhoAmI", token=token), 401, "0x80048405")


def test_a_flood_of_rows_hides_no_revocation(own_service):
    token = token_of(own_service)
    as_service(own_service, "SELECT count(config.refuse_token(sha256(i::text::bytea), now() + interval '29 days', true)) FROM generate_series(1, %s) AS i", [100_001])
    as_service(own_service, "SELECT config.refuse_token(%s, now() + interval '1 hour', true)", [digest(token)])
    own_service.stop()
    own_service.start()
    assert "was revoked" in refused(own_service.get("WhoAmI", token=token), 401, "0x80048405")
    assert own_service.get("WhoAmI").status_code == 200
