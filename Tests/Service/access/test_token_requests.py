"""Token requests that lack a parameter or contradict themselves, and responses to OPTIONS."""

import re
import time

import msal
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential
from service import PATIENCE

FORM = {"grant_type": "client_credentials"}


def post(service, data=None, path="oauth2/v2.0/token", method="POST", **options):
    url = f"{service.base}/{service.dev['organization']}/{path}"
    return requests.request(method, url, data=data, verify=service.dev["caFile"], timeout=PATIENCE, **options)


def credentials(service, client="admin"):
    known = service.dev["clients"][client]
    return known["clientId"], known["clientSecret"]


def refused(response, error, words, status=400):
    assert response.status_code == status, response.text
    assert response.json()["error"] == error and words in response.json()["error_description"], response.text


def test_the_form_and_the_header_are_of_one_client(service):
    id, secret = credentials(service)
    for path in ("oauth2/v2.0/token", "oauth2/token"):
        refused(post(service, {**FORM, "client_id": credentials(service, "user")[0]}, path, auth=(id, secret)), "invalid_request", "client_id")
        for own in ({}, {"client_id": id}, {"client_id": id.upper()}):
            assert post(service, {**FORM, **own}, path, auth=(id, secret)).status_code == 200
    refused(post(service, {"token": "x", "client_id": credentials(service, "user")[0]}, "oauth2/v2.0/revoke", auth=(id, secret)), "invalid_request", "client_id")


def test_a_refusal_names_what_it_refuses(service):
    id, secret = credentials(service)
    body = {**FORM, "client_id": id, "client_secret": secret}
    refused(post(service, {"client_id": id, "client_secret": secret}), "invalid_request", "grant_type")
    refused(post(service, {**body, "grant_type": "password"}), "unsupported_grant_type", "client_credentials")
    refused(post(service, json=body), "invalid_request", "application/x-www-form-urlencoded")
    refused(post(service, b"grant_type=client_credentials", headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"}), "invalid_request", "UTF-8")
    refused(post(service, b"grant_type=%zz", headers={"Content-Type": "application/x-www-form-urlencoded"}), "invalid_request", "percent")
    for charset in ("", "; charset=UTF-8", ";charset=utf-8"):
        text = f"grant_type=client_credentials&client_id={id}&client_secret={secret}"
        assert post(service, text.encode(), headers={"Content-Type": f"application/x-www-form-urlencoded{charset}"}).status_code == 200


@pytest.mark.parametrize("path", ["oauth2/v2.0/token", "oauth2/token", "oauth2/v2.0/revoke", "oauth2/revoke"])
def test_other_methods_are_told_the_one_that_is_taken(service, path):
    for method in ("GET", "PUT", "DELETE"):
        answer = post(service, path=path, method=method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS"), answer.text
        refused(answer, "invalid_request", "POST", 405)
    answer = post(service, path=path, method="OPTIONS")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "POST, OPTIONS")


def test_options_of_operations(service):
    none = "00000000-0000-0000-0000-000000000001"
    for path, methods in (
            ("WhoAmI", "GET, HEAD, OPTIONS"), ("RetrieveDataEncryptionKey()", "GET, HEAD, OPTIONS"), ("SetDataEncryptionKey", "POST, OPTIONS"), ("fieldseal.WaitForWork", "POST, OPTIONS"),
            ("fieldseal.RetrieveKeyControl()", "GET, HEAD, OPTIONS"), (f"teams({none})/Microsoft.Dynamics.CRM.AddMembersTeam", "POST, OPTIONS"),
            ("queues/Microsoft.Dynamics.CRM.CreateMultiple", "POST, OPTIONS"), ("Nope", None), ("fieldseal.Nope", None), ("queues/Microsoft.Dynamics.CRM.Nope", None)):
        answer = service.request("OPTIONS", path, token="")
        assert answer.status_code == (204 if methods else 404), (path, answer.text)
        assert not methods or answer.headers["Allow"] == methods
    for path in ("fieldseal.Nope", "fieldseal.Nope()"):
        assert service.get(path).status_code == service.request("POST", path, {}).status_code == 404


# At these addresses, refusals have the form that OAuth clients parse (RFC 6749, section 5.2): `error` is a code, not an object.
ENDPOINTS = ["oauth2/v2.0/token", "oauth2/token", "oauth2/v2.0/revoke", "oauth2/revoke"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_refusals_of_the_server_have_the_form_of_these_endpoints(service, path):
    form = {**FORM, "token": "x"}
    nobody = requests.post(f"{service.base}/nosuch/{path}", data=form, verify=service.dev["caFile"], timeout=PATIENCE)
    refused(nobody, "invalid_request", "", 404)
    assert nobody.headers["Cache-Control"] == "no-store"
    refused(post(service, b"x" * (2 << 20), path, headers={"Prefer": 'odata.include-annotations="*"'}), "invalid_request", "1 MiB", 413)
    # The response is JSON even if the client asks for HTML, because only programs use this address.
    refused(post(service, form, path, method="PATCH", headers={"Accept": "text/html"}), "invalid_request", "POST", 405)


def test_a_locked_client_is_told_so_by_its_library(own_service, monkeypatch):
    service = own_service
    # Makes the libraries trust the service. These variables have priority over a session's own CA file, so they name it too.
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, service.dev["caFile"])
    known = service.json("client", "add", "locked", "--role", "Basic User")
    id, secret, authority = known["clientId"], known["clientSecret"], f"{service.base}/contoso"
    for _ in range(10):
        assert service.token_response(id, "wrong").status_code == 401
    for path in ENDPOINTS:
        answer = post(service, {**FORM, "token": "x", "client_id": id, "client_secret": secret}, path)
        refused(answer, "temporarily_unavailable", "Too many failed attempts", 429)
        # Libraries wait for the time in Retry-After. The text says when the lock ends.
        assert 0 < int(answer.headers["Retry-After"]) <= 5
        assert 60 < int(re.search(r"ends in (\d+) seconds", answer.json()["error_description"]).group(1)) <= 900
    app = msal.ConfidentialClientApplication(id, client_credential=secret, authority=authority, instance_discovery=False, verify=service.dev["caFile"])
    for _ in range(3):
        answer = app.acquire_token_for_client([f"{authority}/.default"])
        assert answer["error"] == "temporarily_unavailable" and "Too many failed attempts" in answer["error_description"], answer
    for options, longest in (({"retry_total": 0}, 5), ({}, 60)):
        credential = ClientSecretCredential(
            "contoso", id, secret, authority=service.base, disable_instance_discovery=True, connection_verify=service.dev["caFile"], **options)
        start = time.monotonic()
        with pytest.raises(ClientAuthenticationError, match="Too many failed attempts"):
            credential.get_token(f"{authority}/.default")
        assert time.monotonic() - start < longest, options


def test_a_database_that_is_away_is_told_in_the_same_form(own_service, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, own_service.dev["caFile"])
    authority = f"{own_service.base}/contoso"
    id, secret = credentials(own_service)
    app = msal.ConfidentialClientApplication(id, client_credential=secret, authority=authority, instance_discovery=False, verify=own_service.dev["caFile"])
    own_service.stop_postgres()
    try:
        for path in ENDPOINTS:
            answer = post(own_service, {**FORM, "token": "x", "client_id": credentials(own_service)[0], "client_secret": "x"}, path)
            refused(answer, "temporarily_unavailable", "database", 503)
            assert 0 < int(answer.headers["Retry-After"]) <= 5
        # The library tries again, and then raises an error with the status.
        with pytest.raises(msal.exceptions.MsalServiceError, match="503"):
            app.acquire_token_for_client([f"{authority}/.default"])
        credential = ClientSecretCredential("contoso", id, secret, authority=own_service.base, disable_instance_discovery=True, connection_verify=own_service.dev["caFile"])
        start = time.monotonic()
        with pytest.raises(ClientAuthenticationError, match="503"):
            credential.get_token(f"{authority}/.default")
        assert time.monotonic() - start < 60
    finally:
        own_service.remove()
