"""Writes rows as the service itself would, with the key-encryption key: for tests that need a session of another age."""

import base64
import hashlib
import hmac
import struct

EPOCH = "timestamptz '2000-01-01 00:00:00+00'"


class Attestor:
    def __init__(self, service):
        self.sql = service.sql
        self.kek = base64.b64decode((service.home / "kek").read_text())

    def tag(self, label, fields):
        subkey = hmac.digest(self.kek, b"fieldseal tag " + label.encode(), "sha512")
        return hmac.digest(subkey, b"".join(struct.pack(">Q", len(f)) + f for f in fields), "sha512")[:32]

    @staticmethod
    def name(kind, key):
        return hashlib.sha256(kind.encode() + b"\0" + b"".join(struct.pack(">Q", len(f)) + f for f in key)).digest()[:16]

    def grants(self, organization="contoso"):
        [(grants,)] = self.sql("SELECT grants FROM config.attested_state JOIN config.organization USING (organization_id) WHERE name = %s", [organization])
        grants = bytes(grants)
        return {grants[i:i + 16]: grants[i + 16:i + 32] for i in range(0, len(grants), 32)}

    def sign(self, grants, organization="contoso"):
        """Puts a list of grants in force, under the next revision."""
        listed = b"".join(k + v for k, v in sorted(grants.items()))
        columns = "organization_id, revision + 1, key_version, fingerprint, events, newest_event, head, kek_id"
        [(id, revision, version, fingerprint, events, newest, head, kek_id)] = self.sql(
            f"SELECT {columns} FROM config.attested_state JOIN config.organization USING (organization_id) WHERE name = %s", [organization])
        digest = hashlib.sha256(listed).digest()
        fields = [id.bytes, str(revision).encode(), str(version).encode(), fingerprint.encode(), digest, str(events).encode(),
                  str(newest).encode(), bytes(head), kek_id.encode()]
        self.sql("UPDATE config.attested_state SET revision = %s, grants = %s, grants_digest = %s, tag = %s WHERE organization_id = %s",
                 [revision, listed, digest, self.tag("attested_state", fields), id])

    def age_sessions(self, created="0", fresh="0", organization="contoso"):
        """Makes every session of the console older, by intervals such as `10 minutes`."""
        self.sql("UPDATE config.console_session SET created_on = created_on - %s::interval, fresh_on = fresh_on - %s::interval", [created, fresh])
        grants = self.grants(organization)

        def moment(value):
            return b"\1" + struct.pack(">q", value)

        rows = self.sql(
            f"""SELECT s.token_hash, s.user_id, (extract(epoch FROM s.created_on - {EPOCH}) * 1000000)::bigint,
                       (extract(epoch FROM s.fresh_on - {EPOCH}) * 1000000)::bigint, u.salt
                  FROM config.console_session AS s JOIN config.console_user AS u USING (user_id) JOIN config.organization AS o USING (organization_id)
                 WHERE isfinite(s.fresh_on) AND o.name = %s""", [organization])
        for hash, user, created_on, fresh_on, salt in rows:
            hash = bytes(hash)
            tag = self.tag("attested console_session", [hash, user.bytes, moment(created_on), moment(fresh_on), bytes(salt)])
            self.sql("UPDATE config.console_session SET tag = %s WHERE token_hash = %s", [tag, hash])
            grants[self.name("console_session", [hash])] = tag[:16]
        self.sign(grants, organization)
