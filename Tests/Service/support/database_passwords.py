"""A cluster whose roles sign in with passwords, and a libpq password file with these passwords."""

import contextlib
import json
import secrets

#: The passwords of the service's role, and of a role that can act as the owner. The second one needs escapes in a password file.
ROLES = {"fieldseal_service": secrets.token_urlsafe(24), "fieldseal_migrator": secrets.token_urlsafe(24) + ":\\"}
SETTING = "databasePasswords"


def escaped(password):
    return password.replace("\\", "\\\\").replace(":", "\\:")


@contextlib.contextmanager
def asked_for_passwords(cluster):
    """Inside of the block, PostgreSQL requires passwords from the two roles, but not from the superuser."""
    access = cluster.home / "data/pg_hba.conf"
    former = access.read_text()
    if cluster.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'fieldseal_migrator'") == [(0,)]:
        cluster.sql("CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner")
    for role, password in ROLES.items():
        cluster.sql(f"ALTER ROLE {role} PASSWORD '{password}'")
    try:
        access.write_text(f"local all postgres trust\nlocal all {','.join(ROLES)} scram-sha-256\n")
        cluster.sql("SELECT pg_reload_conf()")
        yield
    finally:
        access.write_text(former)
        cluster.sql("SELECT pg_reload_conf()")


def password_file():
    return "# Roles of Fieldseal\n" + "".join(f"*:*:fieldseal:{role}:{escaped(password)}\n" for role, password in ROLES.items())


def connections(host, more=""):
    """The two connection strings in the settings."""
    return {"database": f"host={host} user=fieldseal_service dbname=fieldseal{more}",
            "migrationDatabase": f"host={host} user=fieldseal_migrator dbname=fieldseal"}


def write_settings(cluster, name, credential="pgpass", **changes):
    """Writes settings that read the passwords from a credential. Returns their name."""
    lines = connections(cluster.home) | {"kekFile": f"{cluster.home}/kek", SETTING: {"credential": credential}} | changes
    (cluster.home / f"{name}.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items() if v is not None))
    return name
