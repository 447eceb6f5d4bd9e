"""An OpenID provider (Canaille) over TLS, with two people and three clients. Prints the address of its issuer when it can be used.

    openid_provider.py PORT CERTIFICATE PRIVATE_KEY SIGNING_KEY REDIRECT_URI
"""

import datetime
import json
import pathlib
import sys

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from werkzeug.serving import make_server

port, certificate, private_key, signing_key, redirect_uri = sys.argv[1:]
address = f"localhost:{port}"
app = create_app({
    "SECRET_KEY": "of this provider alone",
    "SERVER_NAME": address,
    "PREFERRED_URL_SCHEME": "https",
    "CACHE_TYPE": "SimpleCache",
    "CANAILLE": {"DATABASE": "memory", "LOGIN_ATTRIBUTES": ["user_name"]},
    "CANAILLE_OIDC": {"ACTIVE_JWKS": [json.loads(pathlib.Path(signing_key).read_text())]},
})
with app.app_context():
    person = models.User(formatted_name="Ada", given_name="Ada", family_name="Lovelace", user_name="ada", emails=["ada@contoso.test"], password="ada's password there")
    Backend.instance.save(person)
    alice = models.User(formatted_name="Alice", given_name="Alice", family_name="Liddell", user_name="alice", emails=["alice@contoso.test"], password="alice's password there")
    Backend.instance.save(alice)
    # The clients: one signs people in, one gets tokens for people's mail, and one gets tokens for its own mailbox.
    for id, secret, grants in [
        ("fieldseal", "the secret/of fieldseal+there", ["authorization_code"]),
        ("mail reader", "the reader's:secret", ["password", "refresh_token"]),
        ("bob", "the secret of bob", ["client_credentials"]),
    ]:
        client = models.Client(
            client_id=id, client_secret=secret, client_name=id, redirect_uris=[redirect_uri],
            client_id_issued_at=datetime.datetime.now(datetime.timezone.utc), grant_types=grants, response_types=["code"],
            scope=["openid", "profile"], token_endpoint_auth_method="client_secret_basic", client_uri="https://fieldseal.localhost")
        Backend.instance.save(client)
        client.audience = [client]
        Backend.instance.save(client)
server = make_server("localhost", int(port), app, threaded=True, ssl_context=(certificate, private_key))
print(f"https://{address}", flush=True)
server.serve_forever()
