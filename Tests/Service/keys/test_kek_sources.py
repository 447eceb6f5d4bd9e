"""Sources of the key-encryption key: a PKCS#11 token, clevis with tang, AWS Secrets Manager and AWS KMS. The service starts with each of them."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pkcs11
import pytest
import requests
from ports import free_port
from server import Server
from service import PATIENCE
from soft_token import MODULE, PIN, SoftToken
from test_kek import identify

PAGE = (pathlib.Path(__file__).parents[3] / "docs/key-encryption-key.md").read_text()


@pytest.fixture(scope="module")
def server(cluster):
    server = Server(cluster)
    try:
        yield server
    finally:
        with contextlib.suppress(Exception):
            server.stop()


@pytest.fixture(scope="module")
def token():
    token = SoftToken()
    try:
        yield token
    finally:
        token.remove()


@pytest.fixture
def home(cluster, server):
    """The folder of the cluster. After the test, the settings name the file of the key again."""
    yield cluster.home
    configure(cluster, server, kekFile=str(cluster.home / "kek"))


def configure(cluster, server, **kek):
    """Writes a source of the key into the settings of commands and of the server."""
    for path in [cluster.home / "direct.yaml", server.settings]:
        lines = [line for line in path.read_text().splitlines() if not line.startswith(("kekFile", "newKek", "kek:"))]
        path.write_text("\n".join(lines + [f"{name}: {json.dumps(value)}" for name, value in kek.items()]) + "\n")


def refused(cluster, words, code=1):
    result = cluster.run("verify", check=False)
    assert result.returncode == code and words in result.stderr, result.stderr


def serves(server):
    server.stop()
    server.start()
    assert server.request("GET", "WhoAmI").status_code == 200 and server.sign_in().status_code == 200


def does_not_start(server, words, code=1):
    server.stop()
    before = pathlib.Path(server.log.name).stat().st_size
    ended = subprocess.run([server.program, "serve", "--settings", server.settings], stdin=subprocess.DEVNULL, stdout=server.log, stderr=server.log, timeout=PATIENCE, check=False)
    said = pathlib.Path(server.log.name).read_bytes()[before:].decode()
    assert ended.returncode == code and words in said, said


# A PKCS#11 token


def test_a_token_seals_the_key_and_opens_it_at_each_start(cluster, server, token, home, tmp_path):
    sealed, key = home / "kek.sealed", home / "kek"
    [secret, id] = identify(key)
    configure(cluster, server, kek={"pkcs11": token.setting(sealed)})
    refused(cluster, "kek.sealed can't be used: No such file or directory. Restore it from its backup. Only for a new deployment: fieldseal kek seal")
    result = cluster.run("kek", "seal", "--from", str(key), check=False)
    assert result.returncode == 1 and "has no secret key kek. Restore the token from its backup" in result.stderr and not sealed.exists()
    # A killed command left this file behind. The next command replaces it.
    (home / "kek.sealed.new").write_text("{")
    said = json.loads(cluster.run("kek", "seal", "--from", str(key), "--make-token-key", "--json").stdout)
    assert not (home / "kek.sealed.new").exists()
    assert said == {"kekId": id, "sealedFile": str(sealed)} and sealed.stat().st_mode & 0o777 == 0o400
    with contextlib.ExitStack() as stack:
        # The file with the key itself is not needed any more, so it is moved away.
        key.rename(home / "kek.away")
        stack.callback((home / "kek.away").rename, key)
        cluster.run("verify")
        assert json.loads(cluster.run("kek", "status", "--json").stdout)["inForce"] == id
        cluster.run("config", "check", settings=server.settings.stem)
        assert "kek-folder-writable" not in cluster.run("doctor", "--json", check=False).stdout
        serves(server)
        # The check of a dump reads the key from the token.
        subprocess.run(["pg_dump", "-h", home, "-U", "postgres", "-Fc", "-f", tmp_path / "dump", "fieldseal"], check=True, timeout=PATIENCE)
        checked = json.loads(cluster.run("backup", "check", str(tmp_path / "dump"), "--json").stdout)
        assert [o["opened"] for o in checked["organizations"]] == [True] and checked["problems"] == []
        both = cluster.run("backup", "check", str(tmp_path / "dump"), "--kek-file", str(home / "kek.away"), check=False)
        assert both.returncode == 64 and "one of --kek-file and --settings" in both.stderr
        # The key in the token can't be read. An independent PKCS#11 library can decrypt the sealed file with it.
        objects = token.tool("--list-objects", "--type", "secrkey", text=True).stdout
        assert "AES length 32" in objects and "sensitive" in objects and "never extractable" in objects
        file = json.loads(sealed.read_text())
        assert file["kekId"] == id and base64.b64encode(secret).decode()[:20] not in sealed.read_text()
        parameters = pkcs11.GCMParams(nonce=base64.b64decode(file["iv"]), aad=f"fieldseal kek {id}".encode(), tag_bits=128)
        with pkcs11.lib(MODULE).get_token(token_label="fieldseal").open(user_pin=PIN) as session:
            key_in_token = session.get_key(label="kek", object_class=pkcs11.ObjectClass.SECRET_KEY)
            opened = key_in_token.decrypt(base64.b64decode(file["sealed"]), mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
            with pytest.raises(pkcs11.exceptions.PKCS11Error):
                _ = key_in_token[pkcs11.Attribute.VALUE]
        assert opened == secret
        # The command overwrites neither the sealed file nor the key in the token.
        again = cluster.run("kek", "seal", check=False)
        assert again.returncode == 1 and "it exists, and is never overwritten" in again.stderr
        configure(cluster, server, kek={"pkcs11": token.setting(home / "other.sealed")})
        again = cluster.run("kek", "seal", "--make-token-key", check=False)
        assert again.returncode == 1 and "has a secret key kek already; it was not replaced" in again.stderr
        configure(cluster, server, kek={"pkcs11": token.setting(sealed)})
        cluster.run("verify")


def test_a_token_that_goes_away_ends_no_service_and_lets_none_start(cluster, server, token, home):
    configure(cluster, server, kek={"pkcs11": token.setting(home / "kek.sealed")})
    serves(server)
    (token.folder / "tokens").rename(token.folder / "pulled")
    (token.folder / "tokens").mkdir()
    assert server.request("GET", "WhoAmI").status_code == 200, "a running service has its key"
    does_not_start(server, "has no token fieldseal")
    (token.folder / "tokens").rmdir()
    (token.folder / "pulled").rename(token.folder / "tokens")
    server.start()
    assert server.request("GET", "WhoAmI").status_code == 200


def test_a_wrong_pin_is_not_tried_again_by_systemd(cluster, server, token, home, tmp_path):
    wrong = tmp_path / "pin"
    wrong.write_text("00000000\n")
    wrong.chmod(0o400)
    configure(cluster, server, kek={"pkcs11": token.setting(home / "kek.sealed", pinFile=str(wrong))})
    refused(cluster, f"refuses the PIN in {wrong}. Correct the file before the next start", code=78)
    does_not_start(server, "refuses the PIN", code=78)
    unit = (pathlib.Path(__file__).parents[3] / "dist/fieldseal.service").read_text()
    assert "\nRestartPreventExitStatus=78\n" in unit
    configure(cluster, server, kek={"pkcs11": token.setting(home / "kek.sealed")})
    server.start()


def test_the_pin_is_a_credential_of_systemd(cluster, server, token, home, tmp_path, monkeypatch):
    """Systemd makes the file readable to the unit's user by an access control list, whose mask appears as the group's permission bits."""
    credential = tmp_path / "credentials/pin"
    credential.parent.mkdir()
    credential.write_text(f"{PIN}\n")
    credential.chmod(0o440)
    configure(cluster, server, kek={"pkcs11": token.setting(home / "kek.sealed", pinFile=str(credential))})
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    refused(cluster, "others than its owner may read it (mode 440)")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credential.parent))
    cluster.run("verify")
    serves(server)
    credential.chmod(0o444)
    refused(cluster, "others than its owner may read it (mode 444)")


def changed(file, **members):
    return json.dumps({**json.loads(file.read_text()), **members})


def flipped(text):
    bytes = bytearray(base64.b64decode(text))
    bytes[0] ^= 1
    return base64.b64encode(bytes).decode()


def test_a_sealed_file_that_was_changed_opens_nothing(cluster, server, token, home, tmp_path):
    sealed = home / "kek.sealed"
    file = json.loads(sealed.read_text())
    for text, words in [
        (changed(sealed, sealed=flipped(file["sealed"])), "did not open"), (changed(sealed, iv=flipped(file["iv"])), "did not open"),
        (changed(sealed, kekId="0" * 16), "did not open"), (changed(sealed, mechanism="AES-128-CBC"), "another mechanism than AES-256-GCM"),
        (changed(sealed, sealed="AAAA"), "no file that fieldseal kek seal wrote"), (changed(sealed, iv=None), "no file that fieldseal kek seal wrote"),
        ("", "no file that"), ("{", "no file that"), ("x" * 5000, "no file that"), ((home / "kek").read_text(), "no file that"),
    ]:
        other = tmp_path / "kek.sealed"
        other.write_text(text)
        configure(cluster, server, kek={"pkcs11": token.setting(other)})
        refused(cluster, words)
        if text.startswith("{"):
            # Another start would fail in the same way, so the exit status is 78, with which systemd does not restart the service.
            does_not_start(server, words, code=78)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe/kek.sealed")
    configure(cluster, server, kek={"pkcs11": token.setting(tmp_path / "pipe/kek.sealed")})
    refused(cluster, "no file that")
    # The same token seals a second key-encryption key. It opens, but it is not the one that the database needs.
    configure(cluster, server, kek={"pkcs11": token.setting(tmp_path / "new.sealed")})
    made = json.loads(cluster.run("kek", "seal", "--json").stdout)["kekId"]
    refused(cluster, made, code=78)
    configure(cluster, server, kek={"pkcs11": token.setting(sealed)})
    server.start()


def test_what_can_not_be_used_of_a_token_is_named(cluster, server, token, home, tmp_path):
    sealed = home / "kek.sealed"

    def try_(words, serve=None, **other):
        configure(cluster, server, kek={"pkcs11": token.setting(sealed, **other)})
        refused(cluster, words)
        if serve:
            does_not_start(server, words, code=serve)

    # The PKCS#11 module can't be used.
    loose = tmp_path / "module.so"
    shutil.copy(MODULE, loose)
    loose.chmod(0o777)
    library = next(pathlib.Path("/usr/lib").glob("*/libz.so.1"))
    try_("module.so can't be used: a user other than root and the program's own could replace it", module=str(loose))
    try_("it has no function C_GetFunctionList, so it is no PKCS#11 module", module=str(library))
    try_("invalid ELF header", module=str(home / "direct.yaml"))
    try_("No such file", module="/nowhere.so")
    try_("its path is not absolute", module="libsofthsm2.so")
    try_("it is no regular file", module="/usr/lib")
    # The file of the PIN can't be used.
    pin = tmp_path / "pin"
    for text, mode, words in [("\n", 0o400, "its first line is empty"), ("1" * 300, 0o400, "more than a PIN"), ("48151623", 0o440, "others than its owner may read it")]:
        pin.unlink(missing_ok=True)
        pin.write_text(text)
        pin.chmod(mode)
        try_(words, serve=78, pinFile=str(pin))
    try_("No such file", pinFile="/nowhere")
    # The token or its key does not exist, is ambiguous, or is not safe.
    try_("has no token elsewhere; it has fieldseal", serve=1, token="elsewhere")
    try_("has no secret key other", serve=78, label="other")
    token.tool("--keygen", "--key-type", "AES:32", "--label", "loose", "--extractable")
    try_("the key loose can be read out of the token", serve=78, label="loose")
    token.tool("--keygen", "--key-type", "AES:16", "--label", "short", "--sensitive")
    try_("no AES key of 256 bits", serve=78, label="short")
    for _ in range(2):
        token.tool("--keygen", "--key-type", "AES:32", "--label", "twice", "--sensitive")
    try_("has several secret keys twice", serve=78, label="twice")
    token.tool("--keygen", "--key-type", "AES:32", "--label", "foreign", "--sensitive")
    try_("did not open", label="foreign")
    for _ in range(2):
        token.initialize("double")
    try_("several tokens double", token="double")
    # A setting is missing, unknown, or names a second source.
    half = token.setting(sealed)
    for name in list(half):
        configure(cluster, server, kek={"pkcs11": {k: v for k, v in half.items() if k != name}})
        refused(cluster, f"the settings lack kek.pkcs11.{name}")
    configure(cluster, server, kekFile=str(home / "kek"), kek={"pkcs11": half})
    refused(cluster, "the settings have kekFile and kek.pkcs11: keep one of them")
    configure(cluster, server, kek={"pkcs11": {**half, "slot": 1}})
    refused(cluster, "the unknown key kek.pkcs11.slot")
    configure(cluster, server, kekFile=str(home / "kek"))
    result = cluster.run("kek", "seal", check=False)
    assert result.returncode == 1 and "The settings have no kek.pkcs11" in result.stderr
    # The control: correct settings.
    try_sealed = token.setting(sealed)
    configure(cluster, server, kek={"pkcs11": try_sealed})
    cluster.run("verify")
    server.start()


# Programs that fetch the key


@contextlib.contextmanager
def listening(command, url):
    """Runs a server program until the block ends. The block begins when `url` responds."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(requests.exceptions.ConnectionError):
                requests.get(url, timeout=PATIENCE)
                break
            assert process.poll() is None and time.monotonic() < deadline, command
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def documented(word):
    """The arguments of a `kek.command` in docs/key-encryption-key.md, found by a word in them."""
    [line] = [line for line in PAGE.splitlines() if line.startswith("kek: {command: ") and word in line]
    return line.removeprefix("kek: {command: [").removesuffix("]}")


def test_clevis_asks_a_tang_server_for_the_key(cluster, server, home, tmp_path):
    keys, port = tmp_path / "keys", free_port()
    keys.mkdir()
    subprocess.run(["/usr/libexec/tangd-keygen", keys], check=True, capture_output=True)
    url = f"http://127.0.0.1:{port}"
    sealed = tmp_path / "kek.jwe"
    line = documented("clevis").replace("/etc/fieldseal/kek.jwe", str(sealed))
    assert line == f'/bin/sh, -c, "exec clevis decrypt < {sealed}"'
    configure(cluster, server, kek={"command": ["/bin/sh", "-c", f"exec clevis decrypt < {sealed}"]})
    tang = ["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", f"EXEC:/usr/libexec/tangd {keys}"]
    with listening(tang, f"{url}/adv"):
        with (home / "kek").open("rb") as key, sealed.open("wb") as output:
            subprocess.run(["clevis", "encrypt", "tang", json.dumps({"url": url}), "-y"], check=True, stdin=key, stdout=output, stderr=subprocess.DEVNULL, timeout=PATIENCE)
        assert base64.b64encode(identify(home / "kek")[0]) not in sealed.read_bytes()
        serves(server)
        assert json.loads(cluster.run("kek", "status", "--json").stdout)["inForce"] == identify(home / "kek")[1]
    # Without tang, no server can start, but a running server continues.
    assert server.request("GET", "WhoAmI").status_code == 200
    does_not_start(server, "/bin/sh, which prints the key-encryption key, ended with the status")
    with listening(tang, f"{url}/adv"):
        server.start()
        assert server.request("GET", "WhoAmI").status_code == 200


def test_the_key_comes_from_amazon_s_services(cluster, server, home, tmp_path, monkeypatch):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for name, value in [
        ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_DEFAULT_REGION", "eu-central-1"), ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_CONFIG_FILE", str(tmp_path / "none")), ("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none")), ("AWS_EC2_METADATA_DISABLED", "true"),
    ]:
        monkeypatch.setenv(name, value)

    def aws(*arguments):
        return json.loads(subprocess.run(["/usr/bin/aws", "--endpoint-url", url, *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout)

    def use(word, **replaced):
        command = [part.strip() for part in documented(word).split(",")]
        command = [replaced.get(part, part) for part in command]
        # Runs the documented command, with the address of the test's server added.
        configure(cluster, server, kek={"command": [command[0], "--endpoint-url", url, *command[1:]]})

    moto = pathlib.Path(sys.executable).with_name("moto_server")
    with listening([moto, "-H", "127.0.0.1", "-p", str(port)], url):
        aws("secretsmanager", "create-secret", "--name", "fieldseal-kek", "--secret-string", (home / "kek").read_text())
        use("secretsmanager")
        serves(server)
        # The secret's text is not a key. Then the secret does not exist.
        aws("secretsmanager", "put-secret-value", "--secret-id", "fieldseal-kek", "--secret-string", "something else")
        refused(cluster, "/usr/bin/aws did not print a key-encryption key")
        aws("secretsmanager", "delete-secret", "--secret-id", "fieldseal-kek", "--force-delete-without-recovery")
        refused(cluster, "/usr/bin/aws, which prints the key-encryption key, ended with the status")
        # KMS decrypts a file on this machine. The command prints the key in base64, as the setting requires.
        master = aws("kms", "create-key")["KeyMetadata"]["KeyId"]
        (tmp_path / "plain").write_bytes(identify(home / "kek")[0])
        sealed = aws("kms", "encrypt", "--key-id", master, "--plaintext", f"fileb://{tmp_path}/plain")["CiphertextBlob"]
        (tmp_path / "kek.kms").write_bytes(base64.b64decode(sealed))
        use("kms", **{"fileb:///etc/fieldseal/kek.kms": f"fileb://{tmp_path}/kek.kms"})
        serves(server)
        cluster.run("verify")
    refused(cluster, "/usr/bin/aws, which prints the key-encryption key, ended with the status")


def test_a_key_in_a_file_is_replaced_by_one_that_a_token_seals(cluster, server, token, home):
    """This has to be the last test of the module, because it changes the cluster's key-encryption key."""
    place = token.setting(home / "new.sealed")
    configure(cluster, server, kekFile=str(home / "kek"), newKek={"pkcs11": place})
    new = json.loads(cluster.run("kek", "seal", "--new", "--json").stdout)["kekId"]
    serves(server)
    done = json.loads(cluster.run("kek", "rotate", "--json").stdout)
    assert done["done"] and done["kekId"] == new
    configure(cluster, server, kek={"pkcs11": place})
    serves(server)
    assert json.loads(cluster.run("kek", "retire", "--json").stdout) == {"retired": [identify(home / "kek")[1]]}
    cluster.run("verify")
    assert cluster.run("doctor", "--json", check=False).stdout.count("another-kek") == 0
