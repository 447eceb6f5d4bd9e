"""The key-encryption key is lost, and no copy exists."""

import json
import pathlib
import re

from cluster import Cluster
from server import Server


def lost(what):
    """The row for `what` in the table of docs/operations.md that says what to do after a loss."""
    page = (pathlib.Path(__file__).parents[3] / "docs/operations.md").read_text()
    return re.search(rf"^\| {re.escape(what)} \| (.+) \|$", page, re.MULTILINE)[1]


def test_a_key_encryption_key_that_was_lost_without_a_copy(tmp_path):
    """Follows docs/operations.md: with the organization's own key, all cells can be opened again."""
    cluster = Cluster("fsync=on")
    server = None
    try:
        values = cluster.fill(20)
        server = Server(cluster)
        cluster.run("user", "add", "ada", "--role", "System Administrator", stdin="ada's own password\n")
        box = str(cluster.sql("SELECT mailboxid FROM mailbox_cell LIMIT 1")[0][0])
        copy = tmp_path / "contoso.key"
        cluster.run("key", "show", "--org", "contoso", "--file", str(copy))
        server.stop()
        (cluster.home / "kek").unlink()
        refused = cluster.run("verify", check=False)
        assert refused.returncode == 1 and "there is no key-encryption key" in refused.stderr
        # A new key-encryption key does not open the stored keys, so the program refuses it.
        cluster.run("kek", "create", str(cluster.home / "kek"), settings=None)
        assert cluster.run("verify", check=False).returncode == 78
        steps = lost("the KEK")
        assert [step in steps for step in ("new KEK", "DROP SCHEMA config CASCADE", "the same")] == [True] * 3
        cluster.sql("DROP SCHEMA config CASCADE")
        for command in re.findall(r"`([^`]+)`", lost("`config`")):
            match command.split():
                case ["migrate", "up"] | ["org", "attach", "contoso"]:
                    cluster.run(*command.split())
                case ["user", "add"]:
                    # The people were in the schema `config`, so they are gone.
                    assert json.loads(cluster.run("user", "list", "--org", "contoso", "--json").stdout) == []
                    cluster.run("user", "add", "ada", "--role", "System Administrator", stdin="ada's own password\n")
                case ["client", "add"]:
                    # The client that the new server adds is the first one. Passwords can't be set yet.
                    server = Server(cluster)
                    assert server.request("GET", f"mailboxes({box})").json()["ispasswordset"] is True
                    assert server.request("PATCH", f"mailboxes({box})", {"password": "x"}).status_code == 409
                case ["key", "activate"]:
                    wrong = cluster.run("key", "activate", "--org", "contoso", stdin="Not-this-key-12345\n", check=False)
                    assert wrong.returncode == 1 and cluster.key_version() == 1
                    cluster.run("key", "activate", "--org", "contoso", stdin=copy.read_text())
                case other:
                    raise AssertionError(other)
        assert cluster.opened_cells() == values and cluster.run("verify").returncode == 0
        assert server.request("PATCH", f"mailboxes({box})", {"password": "after the loss"}).status_code == 204
        assert cluster.opened_cells()[f"mailbox({box}).password"] == "after the loss"
        cluster.run("key", "change", "--org", "contoso")
        cluster.run("events", "verify", "--org", "contoso")
        codes = {f["code"] for f in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"] if f["severity"] == "error"}
        assert codes == set()
    finally:
        if server:
            server.stop()
        cluster.remove()
