"""A PostgreSQL cluster with one migrated organization. Tests use it with commands, directly or through a proxy."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import uuid

import cell_reader
import psycopg
import scratch
import template
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from proxy import Proxy
from service import PATIENCE, PROGRAM
from template import SUPPORT

#: The names of the migrations of an organization, in their order.
MIGRATIONS = sorted(p.stem for p in (pathlib.Path(__file__).parents[3] / "migrations/org").glob("*.sql") if not p.stem.endswith(".down"))
NEWEST = MIGRATIONS[-1]


class Cluster:
    def __init__(self, *settings, program=PROGRAM, is_copy=True, **configuration):
        """Creates a cluster with the `settings` of PostgreSQL and the `configuration` of the program. All clusters of a test run are copies of one.
        With `is_copy=False`, a cluster is new and has its own system identifier."""
        self.program, self.is_copy = program, is_copy
        self.home = scratch.new_folder()
        self.home.chmod(0o755)
        self.settings = ["fsync=off", *settings]
        self.start()
        self.superuser = f"host={self.home} user=postgres dbname=fieldseal"
        with psycopg.connect(f"host={self.home} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE fieldseal")
        self.proxy = Proxy(f"{self.home}/.s.PGSQL.5432", self.terminate)
        direct = f"host={self.home} user=fieldseal_service dbname=fieldseal"
        proxied = f"host=127.0.0.1 port={self.proxy.port} user=fieldseal_service dbname=fieldseal sslmode=disable gssencmode=disable"
        for name, database in [("direct", direct), ("proxied", proxied)]:
            lines = {"database": database, "migrationDatabase": self.superuser, "kekFile": f"{self.home}/kek", **configuration}
            (self.home / f"{name}.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items()))
        self.run("kek", "create", str(self.home / "kek"), settings=None)
        self.run("migrate", "bootstrap")
        self.run("migrate", "up")
        self.run("org", "create", "contoso")

    # PostgreSQL

    def start(self):
        folder, first = self.home, not (self.home / "data").exists()
        if first and self.is_copy and scratch.VARIABLE in os.environ:
            template.give_to_postgres(folder)
            template.copy_cluster("trusting", folder / "data")
            first = False
        if not first:
            (folder / "data" / "postmaster.pid").unlink(missing_ok=True)
            for lock in folder.glob(".s.PGSQL.*"):
                lock.unlink()
        begin = "start_postgres" if first else "resume_postgres"
        arguments = " ".join(f"'{s}'" for s in self.settings)
        subprocess.run(
            ["bash", "-c", f"source {SUPPORT}; {begin} {folder} {arguments}"], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self, how=signal.SIGINT):
        template.end_postgres(self.home / "data", how)

    def remove(self):
        self.proxy.close()
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def terminate(self, backend):
        self.sql("SELECT pg_terminate_backend(%s, 5000)", [backend])

    def sql(self, statement, parameters=None):
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            connection.execute("SET search_path = org_contoso, public")
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    # The program

    def popen(self, *arguments, settings="direct", program=None, **options):
        # The option follows the subcommand to which it belongs.
        extra = ["--settings", str(self.home / f"{settings}.yaml")] if settings else []
        return subprocess.Popen(
            [program or self.program, *arguments, *extra], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            **options)

    def run(self, *arguments, check=True, stdin="", **options):
        process = self.popen(*arguments, **options)
        output, errors = process.communicate(stdin, timeout=PATIENCE)
        result = subprocess.CompletedProcess(arguments, process.returncode, output, errors)
        if check and result.returncode:
            raise AssertionError(f"{arguments}: {errors or output}")
        return result

    def change_through_proxy(self, strike, *arguments):
        """Changes the key with a command. `strike(number, sql)` may interrupt each of its statements. Returns the command's result."""
        started = []
        self.proxy.reset(strike, process=lambda: started[0])
        started.append(self.popen("key", "change", "--json", *arguments, settings="proxied"))
        output, errors = started[0].communicate("", timeout=PATIENCE)
        return subprocess.CompletedProcess(arguments, started[0].returncode, output, errors)

    def step_back(self, organization, to):
        """Undoes the migrations of an organization that come after `to`."""
        for name in reversed(MIGRATIONS[MIGRATIONS.index(to) + 1:]):
            self.run("migrate", "down", organization, stdin=f"{name}\n")

    # Cells

    def key_version(self):
        return self.sql("SELECT key_version FROM encryption")[0][0]

    def fill(self, count, value=str):
        """Adds `count` mailboxes with passwords, and a tenth as many profiles, queues and user settings. Returns the passwords by their addresses."""
        with psycopg.connect(self.superuser) as connection:
            connection.execute("SET search_path = org_contoso, public")
            organization, version, salt, iterations = connection.execute(
                "SELECT organization_id, key_version, salt, iterations FROM encryption").fetchone()
            key = cell_reader.derive_data_key(self.run("key", "show", "--org", "contoso").stdout.strip(), bytes(salt), iterations)
            (unit,) = connection.execute("SELECT businessunitid FROM businessunit LIMIT 1").fetchone()
            values = {}
            for entity, id_column, attributes in cell_reader.CELL_TABLES:
                number = count if entity == "mailbox" else count // 10
                ids = [uuid.uuid4() for _ in range(number)]
                other = ("businessunitid", unit) if entity == "usersettings" else ("name", "filled")
                flags = [f"is{name}set" for name in attributes]
                with connection.cursor().copy(f"COPY {entity} ({id_column}, {other[0]}, {', '.join(flags)}) FROM STDIN") as copy:
                    for id in ids:
                        copy.write_row((id, other[1], *[True] * len(flags)))
                with connection.cursor().copy(f"COPY {entity}_cell FROM STDIN") as copy:
                    for id in ids:
                        cells = []
                        for name in attributes:
                            text = values[f"{entity}({id}).{name}"] = value(id)
                            cells.append(seal(key, version, organization, id, f"{entity}.{name}", text))
                        copy.write_row((version, id, *cells))
            return values

    def opened_cells(self):
        key = self.run("key", "show", "--org", "contoso").stdout.strip()
        return {a: s for a, _, s in cell_reader.read_organization(self.superuser, "org_contoso", key)}

    def leftovers(self):
        """What interrupted key changes left in the database and no sweep has removed, as texts."""
        return self.sql(
            """
            SELECT 'table ' || relname FROM pg_class, encryption
             WHERE relnamespace = 'org_contoso'::regnamespace AND relkind = 'r' AND relname ~ '_cell_k'
               AND relname !~ ('_k' || key_version || '$')
            UNION ALL SELECT 'trigger on ' || tgrelid::regclass FROM pg_trigger WHERE tgname = 'notes_change' AND tgenabled <> 'D'
            UNION ALL SELECT 'note of ' || record_id FROM cell_change
            UNION ALL SELECT 'progress of ' || rotation_id FROM config.key_change
            """)


def seal(key, version, organization, record, attribute, content):
    header, iv = bytes([1]) + version.to_bytes(4, "big"), os.urandom(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(content.encode() if isinstance(content, str) else content) + padder.finalize()) + encryptor.finalize()
    aad = cell_reader.associated_data(header, organization, record, attribute)
    return header + iv + ciphertext + cell_reader.tag(key, aad, iv, ciphertext)
