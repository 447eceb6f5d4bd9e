"""How a router signs in without a plain password: OAuth 2.0 with Canaille, Dovecot and Postfix, and NTLM with Cyrus SASL."""

import json
import shutil
import signal
import subprocess
import urllib.parse

import pytest
import requests
from mail import Mail, message, profile, queue
from service import Deployment
from test_openid import Provider
from test_router import emails, enabled, outgoing, problem
from waiting import until


@pytest.fixture(scope="module")
def authorized(tmp_path_factory):
    """A deployment whose mail servers accept only the access tokens of an authorization server."""
    folder = tmp_path_factory.mktemp("authorization")
    provider = Provider(folder)
    (folder / "secret").write_text("the reader's:secret\n")
    applications = [
        {"servers": ["localhost"], "tokenEndpoint": f"{provider.issuer}/oauth/token", "clientId": "mail reader", "grant": "refresh_token", "scope": "openid",
         "clientSecretFile": str(folder / "secret")},
        # An application that is not registered at the authorization server.
        {"servers": ["unknown.test"], "tokenEndpoint": f"{provider.issuer}/oauth/token", "clientId": "nobody's", "grant": "refresh_token", "scope": "openid"},
        {"servers": ["127.0.0.1"], "tokenEndpoint": f"{provider.issuer}/oauth/token", "clientId": "bob", "grant": "client_credentials", "scope": "openid"},
    ]
    (folder / "applications.json").write_text(json.dumps(applications))
    deployment = Deployment(FIELDSEAL_MAIL_APPLICATIONS_FILE=str(folder / "applications.json"), FIELDSEAL_MAIL_AUTHORITY_FILE=str(folder / "tls.crt"))
    deployment.home.chmod(0o755)
    try:
        provider.start("https://localhost/none", "first")
        deployment.start()
        deployment.provider = provider
        deployment.folder = folder
        deployment.mail = Mail(deployment.home, dovecot=dovecot_settings(deployment.home, provider))
        yield deployment
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()
        provider.stop()


def dovecot_settings(home, provider):
    """Settings with which Dovecot asks the authorization server about each token (RFC 7662)."""
    shutil.copy(provider.folder / "tls.crt", home / "provider.crt")
    (home / "provider.crt").chmod(0o644)
    blocks = ["auth_mechanisms = plain login oauthbearer xoauth2"]
    for name, client, secret in [("sub", "mail reader", "the reader's:secret"), ("client_id", "bob", "the secret of bob")]:
        address = provider.issuer.replace("https://", f"https://{urllib.parse.quote(client)}:{urllib.parse.quote(secret, safe='')}@")
        (home / f"oauth-{name}.conf").write_text(f"""
introspection_mode = post
introspection_url = {address}/oauth/introspect
username_attribute = {name}
active_attribute = active
active_value = true
tls_ca_cert_file = {home}/provider.crt
""")
        blocks.append(f"passdb {{\n driver = oauth2\n mechanisms = oauthbearer xoauth2\n args = {home}/oauth-{name}.conf\n}}")
    return "\n".join(blocks)


def refresh_token(provider):
    response = requests.post(
        f"{provider.issuer}/oauth/token", auth=("mail reader", "the reader's:secret"), verify=str(provider.folder / "tls.crt"), timeout=60,
        data={"grant_type": "password", "username": "alice", "password": "alice's password there", "scope": "openid"})
    assert response.status_code == 200, response.text
    return response.json()["refresh_token"]


def oauth_profile(deployment, host="localhost", **more):
    return profile(deployment, deployment.mail, incomingserverlocation=host, outgoingserverlocation=host, incomingauthenticationprotocol=4, outgoingauthenticationprotocol=4, **more)


def test_a_refresh_token_is_exchanged_and_its_successor_sealed(authorized):
    token = refresh_token(authorized.provider)
    q, box = queue(authorized, authorized.mail, oauth_profile(authorized), "alice@contoso.test", password=token)
    enabled(authorized, box)
    cell = authorized.sql("SELECT password FROM org_contoso.mailbox_cell WHERE mailboxid = %s", [box])
    authorized.mail.drop("alice@contoso.test", [message(subject="by a token", to="alice@contoso.test").as_bytes()])
    until(lambda: [e for e in emails(authorized, box) if e["subject"] == "by a token"], what=lambda: authorized.log().decode()[-3000:] + authorized.mail.servers.log()[-3000:])
    id = outgoing(authorized, box, ["customer@elsewhere.test"], "sent by a token")
    until(lambda: authorized.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3, what=lambda: authorized.log().decode()[-3000:])
    # One exchange was enough for all turns. The authorization server accepts each refresh token only once.
    assert exchanges(authorized) == 1
    # A restarted service has no token in memory. So it must use the new refresh token, which it sealed in the mailbox.
    authorized.stop()
    authorized.start()
    authorized.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = NULL WHERE mailboxid = %s", [box])
    authorized.mail.drop("alice@contoso.test", [message(subject="after the start", to="alice@contoso.test").as_bytes()])
    until(lambda: [e for e in emails(authorized, box) if e["subject"] == "after the start"], what=lambda: authorized.log().decode()[-3000:])
    assert exchanges(authorized) == 2
    assert authorized.sql("SELECT password FROM org_contoso.mailbox_cell WHERE mailboxid = %s", [box]) != cell
    assert token.encode() not in authorized.log()
    assert "user=<alice>, method=OAUTHBEARER" in authorized.mail.servers.log()


def exchanges(deployment):
    return (deployment.folder / "provider.log").read_text().count('"POST /oauth/token') - deployment.__dict__.setdefault("asked", 1)


def test_a_clients_secret_is_exchanged(authorized):
    # Dovecot now offers only XOAUTH2, Google's older mechanism.
    settings = authorized.mail.servers.folder / "dovecot.conf"
    settings.write_text(settings.read_text().replace("login oauthbearer xoauth2", "login xoauth2"))
    authorized.mail.servers.processes[0].send_signal(signal.SIGHUP)
    _, box = queue(authorized, authorized.mail, oauth_profile(authorized, "127.0.0.1"), "bob@contoso.test", password="the secret of bob")
    enabled(authorized, box)
    authorized.mail.drop("bob@contoso.test", [message(subject="for a robot", to="bob@contoso.test").as_bytes()])
    until(lambda: [e for e in emails(authorized, box) if e["subject"] == "for a robot"], what=lambda: authorized.log().decode()[-3000:])
    assert "user=<bob>, method=XOAUTH2" in authorized.mail.servers.log()
    # After a key change, the service still opens the secret and exchanges it.
    assert authorized.set_key("A-key-between-exchanges-1!").status_code == 204
    authorized.mail.drop("bob@contoso.test", [message(subject="after a key change", to="bob@contoso.test").as_bytes()])
    until(lambda: [e for e in emails(authorized, box) if e["subject"] == "after a key change"], what=lambda: authorized.log().decode()[-3000:])


def test_what_an_authorization_server_refuses_is_said(authorized):
    _, box = queue(authorized, authorized.mail, oauth_profile(authorized), "carol@contoso.test", password="no-refresh-token-1")
    alert = problem(authorized, box, 15)
    assert "invalid_grant" in alert["text"] and "Set a new refresh token" in alert["text"] and alert["level"] == 3
    assert b"no-refresh-token-1" not in authorized.log() and "no-refresh-token-1" not in json.dumps(alert)
    # If the authorization server can't be reached, the alert is only a warning, and the router tries again.
    authorized.provider.stop()
    try:
        _, box = queue(authorized, authorized.mail, oauth_profile(authorized), "support@contoso.test", password="never-asked-for-1")
        alert = problem(authorized, box, 12)
        assert "can't be reached" in alert["text"] and alert["level"] == 2
    finally:
        authorized.provider.start("https://localhost/none", "second")


def test_an_application_that_is_refused_disables_no_mailbox(authorized):
    """The application's settings belong to the deployment, so a new refresh token in the mailbox would not help."""
    _, box = queue(authorized, authorized.mail, oauth_profile(authorized, "unknown.test"), "support@contoso.test", password="a-good-refresh-token-1", testemailconfigurationscheduled=False)
    authorized.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
    alert = problem(authorized, box, 12)
    assert "invalid_client" in alert["text"] and "mail.applicationsFile" in alert["text"] and alert["level"] == 2
    assert authorized.get(f"mailboxes({box})").json()["enabledforincomingemail"]
    assert b"a-good-refresh-token-1" not in authorized.log()


def test_ntlm_where_a_server_has_nothing_else(tmp_path):
    """Postfix with Cyrus SASL offers only NTLM. (Dovecot on Debian supports NTLM only with the winbind of a domain.)"""
    deployment = Deployment()
    deployment.home.chmod(0o755)
    try:
        deployment.start()
        users = deployment.home / "sasldb"
        # NTLM needs MD4, which OpenSSL has only in its provider of legacy algorithms.
        openssl = deployment.home / "openssl.cnf"
        openssl.write_text("openssl_conf = a\n[a]\nproviders = b\n[b]\ndefault = c\nlegacy = c\n[c]\nactivate = 1\n")
        deployment.mail = Mail(
            deployment.home, sasl=f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: NTLM\nsasldb_path: {users}\n",
            postfix=f"""
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME OPENSSL_CONF={openssl}
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
smtpd_sasl_local_domain = contoso.test
""")
        password = deployment.mail.passwords["support@contoso.test"]
        subprocess.run(["saslpasswd2", "-p", "-c", "-f", users, "-u", "contoso.test", "support"], input=password, text=True, check=True)
        shutil.chown(users, "postfix")
        _, box = queue(deployment, deployment.mail, profile(deployment, deployment.mail, outgoingauthenticationprotocol=2, usesamesettingsforoutgoingconnections=False))
        enabled(deployment, box)
        id = outgoing(deployment, box, ["customer@elsewhere.test"], "signed in by NTLM")
        until(lambda: deployment.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3, what=lambda: deployment.mail.servers.log()[-8000:])
        assert "sasl_method=NTLM, sasl_username=support" in (deployment.mail.servers.folder / "postfix.log").read_text()
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()
