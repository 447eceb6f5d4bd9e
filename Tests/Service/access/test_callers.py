"""Which callers are accepted, and what each may do."""

import base64
import hashlib
import hmac
import json
import time
import uuid

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from service import refused


def encode(part):
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def signed(header, claims, key):
    message = f"{encode(header)}.{encode(claims)}"
    r, s = utils.decode_dss_signature(key.sign(message.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{message}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def test_the_token_endpoint_and_its_documents(service):
    known = service.dev["clients"]["admin"]
    response = service.token_response(known["clientId"], known["clientSecret"], scope=f"{service.base}/contoso/.default")
    assert response.headers["Cache-Control"] == "no-store"
    token = response.json()
    assert token["token_type"] == "Bearer" and token["expires_in"] == 3600
    header, claims, _ = token["access_token"].split(".")
    configuration = requests.get(
        f"{service.base}/contoso/.well-known/openid-configuration", verify=service.dev["caFile"], timeout=60).json()
    assert decode(claims)["iss"] == configuration["issuer"]
    assert decode(claims)["aud"] == f"{service.base}/contoso" and decode(claims)["appid"] == known["clientId"]
    keys = requests.get(configuration["jwks_uri"], verify=service.dev["caFile"], timeout=60).json()["keys"]
    key = next(k for k in keys if k["kid"] == decode(header)["kid"])
    # Any program can verify the token with the published key.
    x, y = (int.from_bytes(base64.urlsafe_b64decode(key[c] + "=="), "big") for c in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    message, signature = token["access_token"].rsplit(".", 1)
    raw = base64.urlsafe_b64decode(signature + "==")
    der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(der, message.encode(), ec.ECDSA(hashes.SHA256()))


def test_the_secret_may_come_by_basic_authentication(service):
    known = service.dev["clients"]["user"]
    response = requests.post(
        f"{service.base}/contoso/oauth2/v2.0/token", data={"grant_type": "client_credentials"},
        auth=(known["clientId"], known["clientSecret"]), verify=service.dev["caFile"], timeout=60)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "form, status, error",
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"), ({"client_id": str(uuid.UUID(int=1))}, 401, "invalid_client"),
        ({"client_id": "nonsense"}, 401, "invalid_client"), ({"client_secret": ""}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"), ({"scope": "https://elsewhere/.default"}, 400, "invalid_scope"),
    ],
)
def test_errors_of_the_token_endpoint(service, form, status, error):
    known = service.dev["clients"]["admin"]
    values = {"client_id": known["clientId"], "client_secret": known["clientSecret"], **form}
    id, secret = values.pop("client_id"), values.pop("client_secret")
    response = service.token_response(id, secret, **values)
    assert response.status_code == status and response.json()["error"] == error


def test_tokens_that_are_missing_malformed_forged_or_foreign(service):
    token = service.token()
    header, claims, signature = token.split(".")
    stranger = ec.generate_private_key(ec.SECP256R1())
    good = decode(claims)
    jwks = json.dumps(requests.get(f"{service.base}/contoso/discovery/v2.0/keys", verify=service.dev["caFile"], timeout=60).json())
    confused = f"{encode({**decode(header), 'alg': 'HS256'})}.{claims}"
    bad = [
        "x", "a.b", "a.b.c", token[:-4], token + "A", f"{header}.{claims}.", "." * 5000, "é",
        f"{encode({'alg': 'none', 'kid': decode(header)['kid']})}.{claims}.", f"{encode({**decode(header), 'alg': 'none'})}.{claims}.{signature}",
        f"{header}.{encode({**good, 'appid': str(uuid.UUID(int=1))})}.{signature}",
        signed({**decode(header)}, good, stranger), signed({**decode(header), "kid": "unknown"}, good, stranger),
        f"{confused}.{encode(hmac.new(jwks.encode(), confused.encode(), hashlib.sha256).digest())}",
    ]
    for value in bad:
        response = service.get("WhoAmI", token=value.encode().decode("latin-1"))
        refused(response, 401, "0x80048405")
        assert response.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
    refused(service.get("WhoAmI", token=""), 401, "0x80048405")
    refused(service.get("WhoAmI", token="", Authorization="Basic eDp5"), 401, "0x80048405")
    assert service.get("WhoAmI").status_code == 200


def test_a_token_that_expired_is_refused(service):
    # Signs tokens with the service's own key, so that only the changed claim can be the reason for a refusal.
    import cell_reader

    kek = base64.b64decode((service.home / "kek").read_text())
    row = service.sql("SELECT signing_key_id, private_key FROM config.signing_key WHERE retired_on IS NULL")[0]
    secret = cell_reader.open_cell(bytes(row[1]), kek, uuid.UUID(int=0), row[0], "signingkey.private")
    key = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
    header, claims, _ = service.token().split(".")
    now = int(time.time())
    good = decode(claims)
    assert service.get("WhoAmI", token=signed(decode(header), {**good, "exp": now + 60}, key)).status_code == 200
    for change in [
        {"exp": now - 1}, {"nbf": now + 3600}, {"aud": f"{service.base}/other"}, {"iss": "https://elsewhere/v2.0"}, {"appid": "x"},
    ]:
        refused(service.get("WhoAmI", token=signed(decode(header), {**good, **change}, key)), 401, "0x80048405")
    # A token that the service accepted before is refused after its expiry.
    expires = int(time.time()) + 3
    known = signed(decode(header), {**good, "exp": expires}, key)
    assert service.get("WhoAmI", token=known).status_code == 200
    while time.time() <= expires:
        time.sleep(0.1)
    refused(service.get("WhoAmI", token=known), 401, "0x80048405")
    without = {name: value for name, value in good.items() if name != "exp"}
    refused(service.get("WhoAmI", token=signed(decode(header), without, key)), 401, "0x80048405")


def test_a_disabled_client_is_refused_at_once(service):
    client = service.json("client", "add", "short-lived", "--role", "Basic User")
    token = service.token_response(client["clientId"], client["clientSecret"]).json()["access_token"]
    assert service.get("WhoAmI", token=token).status_code == 200
    service.run("client", "disable", "short-lived")
    refused(service.get("WhoAmI", token=token), 401, "0x80048405")
    assert service.token_response(client["clientId"], client["clientSecret"]).status_code == 401
    listed = {c["name"]: c for c in service.json("client", "list")}
    assert listed["short-lived"]["disabledOn"] and listed["dev-admin"]["disabledOn"] is None


def test_ten_wrong_secrets_lock_the_client_for_that_address(service):
    client = service.json("client", "add", "locked", "--role", "Basic User")
    for _ in range(10):
        assert service.token_response(client["clientId"], "wrong").status_code == 401
    response = service.token_response(client["clientId"], client["clientSecret"])
    assert response.status_code == 429 and int(response.headers["Retry-After"]) > 0
    known = service.dev["clients"]["admin"]
    assert service.token_response(known["clientId"], known["clientSecret"]).status_code == 200


def test_a_token_of_another_organization_is_refused(own_service):
    # Needs its own deployment: with two organizations, the commands of other tests would need --org.
    service = own_service
    service.run("org", "create", "fabrikam")
    client = service.json("client", "add", "f", "--role", "System Administrator", "--org", "fabrikam")
    token = requests.post(
        f"{service.base}/fabrikam/oauth2/v2.0/token", verify=service.dev["caFile"], timeout=60,
        data={"grant_type": "client_credentials", "client_id": client["clientId"], "client_secret": client["clientSecret"]},
    ).json()["access_token"]
    other = f"{service.base}/fabrikam/api/data/v9.2"
    assert service.get(f"{other}/WhoAmI", token=token).status_code == 200
    refused(service.get("WhoAmI", token=token), 401, "0x80048405")
    refused(service.get(f"{other}/WhoAmI"), 401, "0x80048405")
    # An organization that never existed gives the same response.
    refused(service.get(f"{service.base}/nosuch/api/data/v9.2/WhoAmI"), 401, "0x80048405")
    assert service.token_response(client["clientId"], client["clientSecret"]).status_code == 401
    names = [entry["organization"] for entry in service.json("org", "list")]
    assert names == ["contoso", "fabrikam"]


def test_roles(service):
    mine = service.get("mailboxes", client="user").json()["value"]
    assert [m["name"] for m in mine] == ["Sample user"]
    own, foreign = mine[0]["mailboxid"], service.get("mailboxes?$top=1").json()["value"][0]["mailboxid"]
    assert service.request("PATCH", f"mailboxes({own})", {"password": "mine"}, client="user").status_code == 204
    refused(service.get(f"mailboxes({foreign})", client="user"), 404, "0x80040217")
    refused(service.request("PATCH", f"mailboxes({foreign})", {"password": "x"}, client="user", If_Match="*"), 404, "0x80040217")
    refused(service.request("PATCH", f"mailboxes({uuid.uuid4()})", {"name": "x"}, client="user"), 404, "0x80040217")
    refused(service.request("POST", "mailboxes", {"name": "x"}, client="user"), 403, "0x80040220")
    refused(service.request("DELETE", f"mailboxes({own})", client="user"), 403, "0x80040220")
    refused(service.get("emailserverprofiles", client="user"), 403, "0x80040220")
    assert len(service.get("usersettingscollection", client="user").json()["value"]) == 1

    assert len(service.get("mailboxes", client="router").json()["value"]) > 1
    refused(service.request("PATCH", f"mailboxes({own})", {"incomingemailstatus": 1}, client="router"), 403, "0x80040220")
    # A router gets e-mails to send only through its own messages, and can't read them as records.
    email = service.create("emails", {"subject": "not the router's"})
    for path in ("emails?$select=subject", f"emails({email})", "activityparties", "activitymimeattachments?$select=body", "tracelogs"):
        refused(service.get(path, client="router"), 403, "0x80040220")
    refused(service.request("PATCH", f"mailboxes({own})", {"password": "x"}, client="router"), 403, "0x80040220")
    refused(service.request("DELETE", f"mailboxes({own})", client="router"), 403, "0x80040220")
    assert service.opened_cells()[f"mailbox({own}).password"][1] == "mine"


def test_who_am_i(service):
    answer = service.get("WhoAmI()").json()
    assert uuid.UUID(answer["UserId"]) and uuid.UUID(answer["BusinessUnitId"])
    assert answer["OrganizationId"] == service.json("org", "show", "contoso")["id"]
    refused(service.request("POST", "WhoAmI", {}), 405, "0x8005F100")
