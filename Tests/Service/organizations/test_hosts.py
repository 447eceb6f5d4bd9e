"""An organization at the root of its own host: all addresses in a response begin with the requested host, and the host can have its own certificate."""

import json
import re
import socket
import ssl
import subprocess
import time
import uuid

import httpx
import msal
import pytest
import requests
from azure.identity import ClientSecretCredential
from cluster import Cluster
from cryptography import x509
from server import Server
from service import PROGRAM

HOST, OTHER = "crm.contoso.example", "fabrikam.example"


@pytest.fixture(scope="module")
def hosted():
    """A server with two organizations, each at the root of a host. The host of contoso has its own certificate."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        plain = probe.getsockname()[1]
    cluster = Cluster(hosts={HOST: "contoso", OTHER: "fabrikam"}, http={"host": "127.0.0.1", "port": plain})
    cluster.plain = f"http://127.0.0.1:{plain}"
    certify(cluster.home / "server", "localhost", OTHER)
    certify(cluster.home / "own", HOST)
    server = None
    try:
        cluster.run("org", "create", "fabrikam")
        server = Server(cluster, https={
            "hostCertificateFiles": {HOST: str(cluster.home / "own.pem")}, "hostPrivateKeyFiles": {HOST: str(cluster.home / "own.key")}})
        server.authorities = str(cluster.home / "all.pem")
        (cluster.home / "all.pem").write_text((cluster.home / "server.pem").read_text() + (cluster.home / "own.pem").read_text())
        server.root, server.other = f"https://{HOST}:{server.port}", f"https://{OTHER}:{server.port}"
        server.stranger = json.loads(cluster.run(
            "client", "add", "stranger", "--org", "fabrikam", "--role", "System Administrator", "--json").stdout)
        yield server
    finally:
        if server:
            server.stop()
        cluster.remove()


@pytest.fixture(autouse=True)
def resolver(hosted, monkeypatch):
    """Resolves the hosts to this machine, as a hosts file would, and makes the test's clients trust their certificates."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, hosted.authorities)
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1" if str(host).endswith(".example") else host, *rest, **more))


def certify(path, *hosts):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         f"/CN={hosts[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{h}" for h in hosts), "-keyout", f"{path}.key",
         "-out", f"{path}.pem"], check=True, capture_output=True)


def call(server, method, url, body=None, token=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token != "":
        headers["Authorization"] = f"Bearer {token or server.token}"
    data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
    return requests.request(method, url, data=data, headers=headers, verify=server.authorities, timeout=60)


def addresses(text):
    return set(re.findall(r"https://[^/\"\\ ]+(?:/contoso)?(?=[/\"])", text))


def serial(server, host):
    """The serial number of the certificate that the server shows in a handshake for the host."""
    context = ssl._create_unverified_context()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        return x509.load_der_x509_certificate(secure.getpeercert(binary_form=True)).serial_number


def test_a_certificate_of_a_host_is_read_again(hosted):
    home = hosted.cluster.home
    own, main = serial(hosted, HOST), serial(hosted, "localhost")
    certify(home / "new", HOST)
    renewed = x509.load_pem_x509_certificate((home / "new.pem").read_bytes()).serial_number
    for end in ("key", "pem"):
        (home / f"new.{end}").replace(home / f"own.{end}")
    deadline = time.monotonic() + 60
    while serial(hosted, HOST) != renewed:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert renewed != own and serial(hosted, "localhost") == main
    (home / "all.pem").write_text((home / "server.pem").read_text() + (home / "own.pem").read_text())


def test_records_at_the_root_of_a_host(hosted):
    api = f"{hosted.root}/api/data/v9.2"
    id = str(uuid.uuid4())
    created = call(hosted, "POST", f"{api}/queues", {"queueid": id, "name": f"q {id}"})
    assert created.status_code == 204 and created.headers["OData-EntityId"] == f"{api}/queues({id})"
    other = call(hosted, "POST", f"{api}/queues", {"name": f"r {id}"}, Prefer="return=representation")
    assert other.status_code == 201 and other.json()["@odata.context"].startswith(f"{api}/$metadata#queues")
    # Below the service's own host, the response for the same record has addresses of that host.
    below = f"{hosted.base}/contoso/api/data/v9.2"
    assert call(hosted, "GET", f"{below}/queues({id})").json()["@odata.context"].startswith(f"{below}/$metadata#queues")
    page = call(hosted, "GET", f"{api}/queues?$select=name", Prefer="odata.maxpagesize=1").json()
    assert page["@odata.nextLink"].startswith(f"{api}/queues?")
    assert call(hosted, "GET", page["@odata.nextLink"]).status_code == 200
    fetch = "<fetch count='1'><entity name='queue'><attribute name='name'/></entity></fetch>"
    for query in (f"fetchXml={fetch}", "sql=SELECT name FROM queue", "$expand=ownerid", "$apply=groupby((name))"):
        answer = call(hosted, "GET", f"{api}/queues?{query}", Prefer='odata.maxpagesize=1,odata.include-annotations="*"')
        assert answer.status_code == 200 and addresses(answer.text) == {hosted.root}, query
    for path in ("", "EntityDefinitions(LogicalName='queue')", "WhoAmI", f"queues({id})/ownerid", f"queues({id})/ownerid/$ref", "$openapi",
                 f"queues({id})/name", "RelationshipDefinitions"):
        answer = call(hosted, "GET", f"{api}/{path}" if path else f"{api}/")
        assert answer.status_code == 200 and addresses(answer.text) == {hosted.root}, (path, addresses(answer.text))
    assert call(hosted, "GET", f"{api}/$metadata").status_code == 200
    # A link to a record is accepted with each of the addresses at which the organization can be reached.
    profile = call(hosted, "POST", f"{api}/emailserverprofiles", {"name": f"p {id}"}).headers["OData-EntityId"]
    for root in (hosted.root, f"{hosted.root}/contoso", f"{hosted.base}/contoso"):
        bound = profile.replace(hosted.root, root)
        box = call(hosted, "POST", f"{api}/mailboxes", {"name": "m", "emailserverprofile@odata.bind": bound})
        assert box.status_code == 204, box.text
    # A client whose base URL ends with a slash sends paths with two slashes.
    assert call(hosted, "GET", f"{hosted.root}//api/data/v9.2/WhoAmI").status_code == 200
    assert call(hosted, "GET", f"{hosted.base}/contoso//api/data/v9.2/WhoAmI").status_code == 200


def test_a_batch_at_the_root_of_a_host(hosted):
    api = f"{hosted.root}/api/data/v9.2"
    for root in (api, "/api/data/v9.2", f"{hosted.base}/contoso/api/data/v9.2", "/contoso/api/data/v9.2"):
        body = json.dumps({"requests": [
            {"id": "1", "method": "POST", "url": f"{root}/queues", "body": {"name": "q"}, "headers": {"Content-Type": "application/json"}},
            {"id": "2", "method": "GET", "url": f"{root}/queues?$top=1"}]})
        answer = call(hosted, "POST", f"{api}/$batch", body, Content_Type="application/json")
        assert answer.status_code == 200, answer.text
        assert [r["status"] for r in answer.json()["responses"]] == [204, 200], answer.text
        assert addresses(answer.text) == {hosted.root}


def test_programs_sign_in_at_the_root_of_a_host(hosted):
    known = hosted.client
    form = {"grant_type": "client_credentials", "client_id": known["clientId"], "client_secret": known["clientSecret"]}
    for root, scope in ((hosted.root, hosted.root), (hosted.root, f"{hosted.base}/contoso"), (f"{hosted.root}/contoso", f"{hosted.root}/"),
                        (f"{hosted.base}/contoso", hosted.root)):
        found = call(hosted, "GET", f"{root}/v2.0/.well-known/openid-configuration", token="").json()
        assert found["issuer"] == f"{root}/v2.0" and found["token_endpoint"] == f"{root}/oauth2/v2.0/token"
        assert all(value.startswith(f"{root}/") for name, value in found.items() if name.endswith(("_endpoint", "_uri")))
        answer = requests.post(found["token_endpoint"], data={**form, "scope": f"{scope}/.default"}, verify=hosted.authorities, timeout=30)
        assert answer.status_code == 200, answer.text
        # The token is valid at each address of the organization, whichever of them issued it.
        for place in (hosted.root, f"{hosted.root}/contoso", f"{hosted.base}/contoso"):
            assert call(hosted, "GET", f"{place}/api/data/v9.2/WhoAmI", token=answer.json()["access_token"]).status_code == 200
        for place in (hosted.other, f"{hosted.base}/fabrikam"):
            assert call(hosted, "GET", f"{place}/api/data/v9.2/WhoAmI", token=answer.json()["access_token"]).status_code == 401
    options = {"instance_discovery": False, "verify": hosted.authorities}
    for authority in ({"authority": f"{hosted.root}/contoso"}, {"oidc_authority": f"{hosted.root}/contoso/v2.0"}):
        app = msal.ConfidentialClientApplication(known["clientId"], client_credential=known["clientSecret"], **authority, **options)
        token = app.acquire_token_for_client([f"{hosted.root}//.default"])["access_token"]
        assert call(hosted, "GET", f"{hosted.root}/api/data/v9.2/WhoAmI", token=token).status_code == 200
    credential = ClientSecretCredential(
        "contoso", known["clientId"], known["clientSecret"], authority=hosted.root, disable_instance_discovery=True,
        connection_verify=hosted.authorities)
    token = credential.get_token(f"{hosted.root}/.default").token
    assert call(hosted, "GET", f"{hosted.root}/api/data/v9.2/WhoAmI", token=token).status_code == 200


def test_the_challenge_names_the_host_that_was_asked(hosted):
    for root, authority in ((hosted.root, f"{hosted.root}/contoso"), (f"{hosted.root}/contoso", f"{hosted.root}/contoso"),
                            (f"{hosted.base}/contoso", f"{hosted.base}/contoso")):
        answer = call(hosted, "GET", f"{root}/api/data/v9.2/WhoAmI", token="")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == f"Bearer authorization_uri={authority}/oauth2/authorize, resource_id={root}/"
    # Of the header Host, the response repeats only a valid port.
    for value in ('crm.contoso.example:1"', "crm.contoso.example:99999", "crm.contoso.example:", "crm.contoso.example:1:2", "x.example", "[::1]"):
        answer = call(hosted, "GET", f"{hosted.base}/contoso/api/data/v9.2/WhoAmI", token="", Host=value)
        assert answer.status_code in (400, 401) and value not in answer.headers.get("WWW-Authenticate", ""), value


def test_a_host_serves_its_own_organization_alone(hosted):
    for path in ("fabrikam/api/data/v9.2/WhoAmI", "fabrikam/v2.0/.well-known/openid-configuration"):
        assert call(hosted, "GET", f"{hosted.root}/{path}").status_code == 404
    assert call(hosted, "GET", f"{hosted.other}/api/data/v9.2/WhoAmI").status_code == 401
    # For a host in no setting, the path names the organization, and addresses in the response are the service's own.
    answer = call(hosted, "GET", f"{hosted.base}/contoso/api/data/v9.2/queues?$top=1", Host="elsewhere.example")
    assert answer.status_code == 200 and answer.json()["@odata.context"].startswith(f"{hosted.base}/contoso/api/")
    assert call(hosted, "GET", f"{hosted.base}/api/data/v9.2/WhoAmI", Host="elsewhere.example").status_code in (401, 404)
    # The service ignores case in host names, and leaves out the default port.
    for name in (HOST.upper(), f"{HOST}:443"):
        answer = call(hosted, "GET", f"{hosted.base}/api/data/v9.2/queues?$top=1", Host=name)
        assert answer.json()["@odata.context"].startswith(f"https://{HOST}/api/")
    # The console has one address. At another host, the page with an error names it. Health checks work at each host.
    page = call(hosted, "GET", f"{hosted.root}/overview", token="", Accept="text/html")
    assert page.status_code == 421 and hosted.base in page.text
    for path in ("healthz", "readyz"):
        assert call(hosted, "GET", f"{hosted.root}/{path}", token="").status_code == 200


def test_http_2_at_the_root_of_a_host(hosted):
    with httpx.Client(http2=True, verify=ssl.create_default_context(cafile=hosted.authorities), timeout=30) as client:
        answer = client.get(f"{hosted.root}/api/data/v9.2/queues?$top=1", headers={"Authorization": f"Bearer {hosted.token}"})
        assert answer.http_version == "HTTP/2" and answer.json()["@odata.context"].startswith(f"{hosted.root}/api/")


def shown(server, name):
    """The names in the certificate that the server shows to a client that names the host `name`, or None."""
    context = ssl.create_default_context(cafile=server.authorities)
    context.check_hostname = False
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        with context.wrap_socket(connection, server_hostname=name) as tls:
            return {value for kind, value in tls.getpeercert()["subjectAltName"]}


def test_certificates_by_server_name(hosted):
    assert shown(hosted, HOST) == {HOST} and shown(hosted, HOST.upper()) == {HOST}
    for name in (OTHER, "localhost", "elsewhere.example", None):
        assert shown(hosted, name) == {"localhost", OTHER}


def test_a_token_without_tls_is_noted_at_the_root_of_a_host(hosted):
    plain = hosted.cluster.plain
    token = hosted.sign_in().json()["access_token"]
    answer = requests.get(
        f"{plain}/api/data/v9.2/WhoAmI", headers={"Authorization": f"Bearer {token}", "Host": HOST}, timeout=30)
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "0x8004852C"
    assert f"{hosted.base}/contoso/api/data/v9.2/WhoAmI" in answer.json()["error"]["message"]
    assert call(hosted, "GET", f"{hosted.root}/api/data/v9.2/WhoAmI", token=token).status_code == 401


def check(cluster, tmp_path, **settings):
    file = tmp_path / "settings.yaml"
    file.write_text((cluster.home / "direct.yaml").read_text() + "".join(f"{k}: {json.dumps(v)}\n" for k, v in settings.items()))
    text = file.read_text().replace(f'hosts: {json.dumps({HOST: "contoso", OTHER: "fabrikam"})}\n', "")
    file.write_text(text)
    return subprocess.run(
        [PROGRAM, "config", "check", "--settings", str(file), "--json"], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("hosts, word", [
    ({"crm.contoso.example": "Contoso"}, "not an organization's name"), ({"crm.contoso.example": "api"}, "path of the Web API"),
    ({"https://crm.contoso.example": "contoso"}, "not a host name"), ({"crm.contoso.example/x": "contoso"}, "not a host name"),
    ({"*.contoso.example": "contoso"}, "not a host name"), ({"crm..example": "contoso"}, "not a host name"),
    ({"crm.contoso.example:0": "contoso"}, "not a host name"), ({"a.example": "contoso", "A.example": "contoso"}, "twice"),
    ({"crm.contoso.example": {"a": 1}}, "object"), (["crm.contoso.example"], "list"), ("crm.contoso.example", "not an organization's name"),
    ({"crm.contoso.example": None}, "not an organization's name"), ({"localhost": "contoso"}, "baseURL"),
])
def test_hosts_that_can_not_be_are_refused(hosted, tmp_path, hosts, word):
    result = check(hosted.cluster, tmp_path, hosts=hosts)
    assert result.returncode != 0 and "hosts" in result.stderr and word in result.stderr, (result.stdout, result.stderr)


def test_hosts_are_shown_and_their_certificates_checked(hosted, tmp_path):
    home = hosted.cluster.home
    https = {"certificateFile": f"{home}/server.pem", "privateKeyFile": f"{home}/server.key"}
    good = check(hosted.cluster, tmp_path, hosts={"CRM.contoso.example": "contoso", "b.example:8443": "contoso"}, https={
        **https, "hostCertificateFiles": {HOST: f"{home}/own.pem"}, "hostPrivateKeyFiles": {HOST: f"{home}/own.key"}})
    shown = json.loads(good.stdout)
    assert shown["settings"]["hosts"] == {HOST: "contoso", "b.example:8443": "contoso"} and shown["problems"] == []
    for files, word in (
        ({"hostCertificateFiles": {HOST: f"{home}/own.pem"}}, HOST),
        ({"hostCertificateFiles": {HOST: f"{home}/own.pem"}, "hostPrivateKeyFiles": {HOST: f"{home}/server.key"}}, "does not belong"),
        ({"hostCertificateFiles": {HOST: f"{home}/none.pem"}, "hostPrivateKeyFiles": {HOST: f"{home}/own.key"}}, "no such file"),
    ):
        bad = check(hosted.cluster, tmp_path, https={**https, **files})
        assert bad.returncode == 1 and any(word in problem for problem in json.loads(bad.stdout)["problems"]), bad.stdout


def test_discovery_at_the_root_of_a_host(hosted):
    for root, url in ((hosted.root, hosted.root), (f"{hosted.root}/contoso", f"{hosted.root}/contoso"), (hosted.base, f"{hosted.base}/contoso"), (f"{hosted.base}/contoso", f"{hosted.base}/contoso")):
        answer = call(hosted, "GET", f"{root}/api/discovery/v2.0/Instances")
        assert answer.status_code == 200, (root, answer.text)
        assert [(i["UniqueName"], i["ApiUrl"]) for i in answer.json()["value"]] == [("contoso", url)]
        assert answer.json()["@odata.context"] == f"{root}/api/discovery/v2.0/$metadata#Instances"
    refusal = call(hosted, "GET", f"{hosted.root}/api/discovery/v2.0/Instances", token="")
    assert refusal.status_code == 401 and refusal.headers["WWW-Authenticate"] == f"Bearer authorization_uri={hosted.root}/contoso/oauth2/authorize, resource_id={hosted.root}/"
    # The host of the other organization refuses the client's token.
    assert call(hosted, "GET", f"{hosted.other}/api/discovery/v2.0/Instances").status_code == 401


WHO_AM_I = (
    '<s:Envelope xmlns:s="{space}"><s:Body><Execute xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><request '
    'xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts"><a:Parameters/><a:RequestName>{name}</a:RequestName></request></Execute></s:Body></s:Envelope>')
ORGANIZATIONS = (
    '<s:Envelope xmlns:s="{space}"><s:Body><Execute xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Discovery"><request '
    'xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="RetrieveOrganizationsRequest"/></Execute></s:Body></s:Envelope>')
VERSIONS = (("/web", "text/xml", "http://schemas.xmlsoap.org/soap/envelope/"), ("", "application/soap+xml", "http://www.w3.org/2003/05/soap-envelope"))


def test_soap_at_the_root_of_a_host(hosted):
    """The Organization service and the Discovery service in both versions of SOAP: all addresses in a response begin with the requested host."""
    for root in (hosted.root, f"{hosted.root}/contoso", f"{hosted.base}/contoso"):
        for path, type, space in VERSIONS:
            url = f"{root}/XRMServices/2011/Organization.svc{path}"
            answer = call(hosted, "POST", url, WHO_AM_I.format(space=space, name="WhoAmI"), Content_Type=type)
            assert answer.status_code == 200 and "UserId" in answer.text, answer.text
            detail = call(hosted, "POST", url, WHO_AM_I.format(space=space, name="RetrieveCurrentOrganization"), Content_Type=type)
            assert f">{root}/XRMServices/2011/Organization.svc<" in detail.text and addresses(detail.text) == {root}, detail.text
            wsdl = call(hosted, "GET", f"{url}?wsdl", token="")
            assert wsdl.status_code == 200 and f'"{root}/XRMServices/2011/Organization.svc/web"' in wsdl.text
            refusal = call(hosted, "POST", url, WHO_AM_I.format(space=space, name="WhoAmI"), token="", Content_Type=type)
            authority = f"{root}/contoso" if root == hosted.root else root
            assert refusal.status_code == 401 and refusal.headers["WWW-Authenticate"] == f"Bearer authorization_uri={authority}/oauth2/authorize, resource_id={root}/"
            found = call(hosted, "POST", f"{root}/XRMServices/2011/Discovery.svc{path}", ORGANIZATIONS.format(space=space), Content_Type=type)
            assert found.status_code == 200 and re.findall(r"UniqueName>(\w+)<", found.text) == ["contoso"] and addresses(found.text) == {root}, found.text
    for path, type, space in VERSIONS:
        # At the host of the other organization, the token is refused.
        for service, body in (("Organization", WHO_AM_I.format(space=space, name="WhoAmI")), ("Discovery", ORGANIZATIONS.format(space=space))):
            assert call(hosted, "POST", f"{hosted.other}/XRMServices/2011/{service}.svc{path}", body, Content_Type=type).status_code == 401
        plain = requests.post(
            f"{hosted.cluster.plain}/XRMServices/2011/Organization.svc{path}", data=WHO_AM_I.format(space=space, name="WhoAmI"),
            headers={"Content-Type": type, "Host": HOST}, timeout=60)
        assert plain.status_code == 500 and str(0x8004852C - (1 << 32)) in plain.text
