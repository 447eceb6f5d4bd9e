"""A second reader of Fieldseal's cells, written from docs/cell-format.md alone: it shares no line with the product.

    cell_reader.py CONNINFO SCHEMA < KEY

opens every cell of an organization with the organization key's text from standard input, and prints one line of JSON each:
{"address": "mailbox(…).password", "keyVersion": 2, "value": "…"}. Needs `cryptography` for AES alone, and `psycopg`.
"""

import hashlib
import hmac
import json
import struct
import sys
import unicodedata
import uuid

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class DoesNotOpen(Exception):
    """Not a cell, another key, another place, or damaged: which of them is not told."""


def derive_data_key(text: str, salt: bytes, iterations: int) -> bytes:
    """The 64-byte data key of an organization key."""
    password = unicodedata.normalize("NFC", text).encode()
    return hashlib.pbkdf2_hmac("sha512", password, salt, iterations, 64)


def fingerprint(data_key: bytes) -> str:
    return hashlib.sha256(b"fieldseal fingerprint" + data_key).digest()[:8].hex()


def associated_data(header: bytes, organization: uuid.UUID, record: uuid.UUID, attribute: str) -> bytes:
    return header + organization.bytes + record.bytes + attribute.encode("ascii")


def tag(data_key: bytes, aad: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    message = aad + iv + ciphertext + struct.pack(">Q", len(aad) * 8)
    return hmac.new(data_key[:32], message, hashlib.sha512).digest()[:32]


def key_version(cell: bytes) -> int:
    return struct.unpack(">I", cell[1:5])[0]


def open_cell(cell: bytes, data_key: bytes, organization: uuid.UUID, record: uuid.UUID, attribute: str) -> bytes:
    if len(cell) < 69 or (len(cell) - 53) % 16 or cell[0] != 1 or key_version(cell) == 0:
        raise DoesNotOpen
    header, iv, ciphertext, stored = cell[:5], cell[5:21], cell[21:-32], cell[-32:]
    aad = associated_data(header, organization, record, attribute)
    if not hmac.compare_digest(stored, tag(data_key, aad, iv, ciphertext)):
        raise DoesNotOpen
    decryptor = Cipher(algorithms.AES(data_key[32:]), modes.CBC(iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    try:
        return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise DoesNotOpen from None


# Entity, its id's column, and its encrypted attributes.
CELL_TABLES = [
    ("emailserverprofile", "emailserverprofileid", ["incomingpassword", "outgoingpassword"]),
    ("mailbox", "mailboxid", ["password"]),
    ("queue", "queueid", ["emailpassword"]),
    ("usersettings", "systemuserid", ["emailpassword"]),
]


def read_organization(conninfo: str, schema: str, text: str):
    """Yields (address, key version, value) of every cell in the schema."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(conninfo) as connection:
        row = connection.execute(
            sql.SQL("SELECT organization_id, salt, iterations, key_check FROM {}").format(sql.Identifier(schema, "encryption"))
        ).fetchone()
        organization, salt, iterations, key_check = row
        data_key = derive_data_key(text, bytes(salt), iterations)
        checked = open_cell(bytes(key_check), data_key, organization, organization, "organization.keycheck")
        if checked != b"fieldseal key check":
            raise DoesNotOpen
        for entity, id_column, attributes in CELL_TABLES:
            columns = sql.SQL(", ").join(map(sql.Identifier, [id_column, *attributes]))
            table = sql.Identifier(schema, f"{entity}_cell")
            # An older generation may still be there, while some transaction is older than the change that retired it.
            current = sql.SQL("SELECT {} FROM {} WHERE key_version = %s").format(columns, table)
            for record, *cells in connection.execute(current, [key_version(bytes(key_check))]):
                for attribute, cell in zip(attributes, cells):
                    if cell is not None:
                        cell = bytes(cell)
                        value = open_cell(cell, data_key, organization, record, f"{entity}.{attribute}")
                        yield f"{entity}({record}).{attribute}", key_version(cell), value.decode()


if __name__ == "__main__":
    for address, version, value in read_organization(sys.argv[1], sys.argv[2], sys.stdin.readline().rstrip("\n")):
        print(json.dumps({"address": address, "keyVersion": version, "value": value}))
