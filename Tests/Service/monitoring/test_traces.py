"""The service passes the trace of a request on to the servers that it asks (W3C Trace Context). The router sends a trace with its requests."""

import http.server
import json
import re

import pytest
import requests
from service import PATIENCE, Deployment
from test_router_token_exchange import HOST, TokenServer, https_server, mailbox
from waiting import until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Issuer:
    """Serves the description of an OpenID provider over TLS, and records the trace of each request."""

    def __init__(self, folder):
        self.traces = []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.traces.append((self.headers.get_all("traceparent"), self.headers.get_all("tracestate")))
                body = json.dumps({"keys": []} if self.path == "/keys" else {
                    "issuer": issuer.url, "authorization_endpoint": f"{issuer.url}/authorize", "token_endpoint": f"{issuer.url}/token",
                    "jwks_uri": f"{issuer.url}/keys"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = https_server(Handler, folder)
        self.url = f"https://localhost:{self.server.server_address[1]}"


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traces")
    tokens = TokenServer(folder)
    (folder / "applications.json").write_text(json.dumps([{"servers": [HOST], "tokenEndpoint": tokens.endpoint, "clientId": "reader", "grant": "refresh_token"}]))
    authority = str(folder / "tls.crt")
    deployment = Deployment(
        FIELDSEAL_MAIL_APPLICATIONS_FILE=str(folder / "applications.json"), FIELDSEAL_MAIL_AUTHORITY_FILE=authority, FIELDSEAL_ISSUERS_AUTHORITY_FILE=authority)
    try:
        deployment.start()
        deployment.token_server, deployment.folder = tokens, folder
        yield deployment
    finally:
        deployment.remove()
        tokens.server.shutdown()


def log(deployment):
    return [json.loads(line) for line in deployment.log().decode().splitlines() if line.startswith("{")]


def asked(deployment, name, **headers):
    """Begins a sign-in at a new provider. Returns the traces that the provider received, and the log's line about the request."""
    issuer = Issuer(deployment.folder)
    try:
        deployment.json("issuer", "add", name, "--issuer", issuer.url, "--client-id", "x", stdin="a secret\n")
        pages = f"{deployment.base}/contoso"
        page = requests.get(f"{pages}/sign-in", verify=deployment.dev["caFile"], timeout=PATIENCE).text
        path = re.search(rf'href="(/contoso/sign-in/with/[^"]+)">[^<]*{name}', page)[1].replace("&amp;", "&")
        answer = requests.get(f"{deployment.base}{path}", headers=headers, verify=deployment.dev["caFile"], timeout=PATIENCE, allow_redirects=False)
        assert answer.status_code in (302, 303) and answer.headers["Location"].startswith(issuer.url), answer.text
        line = until(lambda: [line for line in log(deployment) if line.get("path") == path.split("?")[0]])[-1]
        return issuer.traces, line
    finally:
        issuer.server.shutdown()


def test_an_issuer_gets_the_trace_of_the_request(traced):
    state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    traces, line = asked(traced, "First", traceparent=f"00-{TRACE}-{PARENT}-01", tracestate=state)
    assert line["trace_id"] == TRACE
    # The service requests the description and the keys. In both requests, the parent is the service's own span.
    assert len(traces) == 2 and all(t == ([f"00-{TRACE}-{line['span_id']}-01"], [state]) for t in traces), traces
    # The service keeps the flag that a trace is not sampled, and accepts a later version of the header. It drops a trace state that is too long.
    traces, line = asked(traced, "Second", traceparent=f"01-{TRACE}-{PARENT}-00-more", tracestate="x=" + "y" * 600)
    assert all(t == ([f"00-{TRACE}-{line['span_id']}-00"], None) for t in traces), traces
    # Without a valid trace in the request, the service sends none.
    for name, headers in [("Third", {}), ("Fourth", {"traceparent": f"00-{TRACE}-{PARENT}", "tracestate": state}), ("Fifth", {"tracestate": state})]:
        traces, line = asked(traced, name, **headers)
        assert "trace_id" not in line and all(t == (None, None) for t in traces), traces


def test_a_turn_of_the_router_is_one_trace_to_the_authorization_server(traced):
    tokens = traced.token_server
    box = mailbox(traced, tokens.valid)

    def turn():
        """The log's lines with the trace that the authorization server received. None until the router has reported on the mailbox."""
        lines = [line for line in log(traced) if tokens.traces and line.get("trace_id") == tokens.traces[0][0].split("-")[1]]
        return lines if any(line.get("path", "").endswith("ReportMailbox") for line in lines) else None

    lines = until(turn, what=lambda: f"{tokens.traces} {traced.log().decode()[-3000:]}")
    requests_ = {line["path"].rsplit(".", 1)[-1]: line for line in lines if "path" in line}
    assert {"LeaseMailbox", "ReleaseCredential", "ReportMailbox"} <= set(requests_), requests_
    assert len({line["parent_id"] for line in requests_.values()}) == len(requests_), "each request is a span of its own"
    version, trace, parent, flags = tokens.traces[0][0].split("-")
    assert (version, flags) == ("00", "01") and parent == requests_["ReleaseCredential"]["span_id"] and trace == requests_["LeaseMailbox"]["trace_id"]
    # The router's log lines about the turn have this trace, and its next turn has another.
    assert [line for line in lines if "path" not in line and "span_id" not in line], lines

    def leases():
        return {line["trace_id"] for line in log(traced) if line.get("path", "").endswith("LeaseMailbox")}

    assert trace in leases()
    until(lambda: leases() - {trace}, what=leases)
    assert traced.request("DELETE", f"mailboxes({box})").status_code == 204
