"""Only the addresses that the threat model names reveal to strangers whether an organization exists."""

import pytest
import requests
from service import PATIENCE, Deployment

#: Addresses whose responses are equal for organizations that exist and that do not.
ALIKE = [
    "api/data/v9.2/", "api/data/v9.2/WhoAmI", "api/data/v9.2/emails", "api/data/v9.2/$metadata", "api/discovery/v2.0/Instances",
    "XRMServices/2011/Organization.svc", "XRMServices/2011/Organization.svc?wsdl", "XRMServices/2011/Organization.svc/web?singlewsdl",
    "XRMServices/2011/Discovery.svc", "XRMServices/2011/Discovery.svc?wsdl", "oauth2/authorize", "oauth2/v2.0/authorize", "oauth2/token",
]
#: Addresses that reveal whether an organization exists, according to the threat model: pages, and addresses for signing in.
TELLING = [
    "sign-in", "overview", "v2.0/.well-known/openid-configuration", ".well-known/oauth-authorization-server",
    "discovery/v2.0/keys", "discovery/keys",
]


@pytest.fixture(scope="module")
def service():
    with Deployment.made() as deployment:
        yield deployment


def ask(service, name, path, method="GET", **options):
    response = requests.request(
        method, f"{service.base}/{name}/{path}", verify=service.dev["caFile"], timeout=PATIENCE, allow_redirects=False, **options)
    text = response.text.replace(name, "NAME")
    headers = {k: v.replace(name, "NAME") for k, v in response.headers.items() if k.lower() in ("www-authenticate", "location", "content-type", "allow")}
    return response.status_code, text, headers


@pytest.mark.parametrize("path", ALIKE)
def test_addresses_of_programs_answer_alike(service, path):
    told, other = ask(service, "contoso", path), ask(service, "nosuch1", path)
    assert told[0] == other[0] and told[2] == other[2]
    # A SOAP fault contains the id of its request, so two faults differ in any case.
    if "Fault" not in told[1]:
        assert told[1] == other[1]


@pytest.mark.parametrize("path", TELLING)
def test_pages_and_sign_in_tell(service, path):
    assert ask(service, "contoso", path)[0] in (200, 303, 400)
    assert ask(service, "nosuch1", path)[0] == 404


@pytest.mark.parametrize("path", ["oauth2/v2.0/token", "oauth2/token", "oauth2/v2.0/revoke", "oauth2/revoke"])
def test_the_token_endpoint_tells(service, path):
    form = {"grant_type": "client_credentials", "client_id": "00000000-0000-0000-0000-000000000001", "client_secret": "x", "token": "x"}
    assert ask(service, "contoso", path, "POST", data=form)[0] == 401
    assert ask(service, "nosuch1", path, "POST", data=form)[0] == 404
