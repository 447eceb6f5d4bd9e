"""Writes rows with valid tags, as the service does, with the KEK. For example, a test can make sessions older."""

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
        """Puts a list of grants into force: writes the organization's attested state with a higher revision and its tag."""
        listed = b"".join(k + v for k, v in sorted(grants.items()))
        columns = "organization_id, revision + 1, key_version, fingerprint, events, newest_event, head, kek_id"
        [(id, revision, version, fingerprint, events, newest, head, kek_id)] = self.sql(
            f"SELECT {columns} FROM config.attested_state JOIN config.organization USING (organization_id) WHERE name = %s", [organization])
        digest = hashlib.sha256(listed).digest()
        fields = [id.bytes, str(revision).encode(), str(version).encode(), fingerprint.encode(), digest, str(events).encode(),
                  str(newest).encode(), bytes(head), kek_id.encode()]
        self.sql("UPDATE config.attested_state SET revision = %s, grants = %s, grants_digest = %s, tag = %s WHERE organization_id = %s",
                 [revision, listed, digest, self.tag("attested_state", fields), id])

    def age_approvals(self, by, organization="contoso"):
        """Makes every request for approval older by an interval such as `10 minutes`."""
        self.sql("UPDATE config.approval SET created_on = created_on - %s::interval, expires_on = expires_on - %s::interval", [by, by])

        def field(value):
            """Encodes a field that may be null, for a tag."""
            if value is None:
                return b"\0"
            return b"\1" + (struct.pack(">q", value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value)

        grants = self.grants(organization)
        rows = self.sql(
            f"""SELECT approval_id, organization_id, operation, subject, digest, requester, requester_id, address,
                       (extract(epoch FROM created_on - {EPOCH}) * 1000000)::bigint, (extract(epoch FROM expires_on - {EPOCH}) * 1000000)::bigint,
                       approver, approver_id FROM config.approval""")
        for id, of, operation, subject, digest, requester, requester_id, address, created, expires, approver, approver_id in rows:
            ids = [value and value.bytes for value in (requester_id, approver_id)]
            tag = self.tag("attested approval", [
                id.bytes, of.bytes, operation.encode(), subject.encode(), bytes(digest), requester.encode(), field(ids[0]), field(address), field(created),
                field(expires), field(approver), field(ids[1])])
            self.sql("UPDATE config.approval SET tag = %s WHERE approval_id = %s", [tag, id])
            grants[self.name("approval", [id.bytes])] = tag[:16]
        self.sign(grants, organization)

    def age_events(self, by, organization):
        """Makes every security event of an organization older by the interval, and computes the event chain again."""
        table = f"org_{organization}.security_event"
        self.sql(f"""
            DO $$
            DECLARE number bigint; newest bytea;
            BEGIN
                PERFORM set_config('session_replication_role', 'replica', true);
                FOR number IN SELECT security_event_id FROM {table} ORDER BY 1 LOOP
                    UPDATE {table} SET occurred_on = occurred_on - interval '{by}', previous_hash = newest WHERE security_event_id = number;
                    UPDATE {table} AS e SET hash = org_{organization}.security_event_hash(e) WHERE security_event_id = number RETURNING hash INTO newest;
                END LOOP;
                UPDATE config.attested_state SET head = newest
                 WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = '{organization}');
            END $$""")
        self.sign(self.grants(organization), organization)

    def age_sessions(self, created="0", fresh="0", organization="contoso"):
        """Makes every session of the console older by intervals such as `10 minutes`."""
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
            # If all sessions of a person were once ended together, the grants of later sessions contain the time of that end.
            end = grants.get(self.name("sessions", [user.bytes]))
            grants[self.name("console_session", [hash])] = hashlib.sha256(end + tag[:16]).digest()[:16] if end else tag[:16]
        self.sign(grants, organization)

    def age_invitations(self, by, organization="contoso"):
        """Moves the end of every invitation link back by an interval such as `7 days`."""
        self.sql("UPDATE config.console_user SET invited_until = invited_until - %s::interval", [by])
        grants = self.grants(organization)
        rows = self.sql(
            f"""SELECT user_id, invitation, salt, invited_by, (extract(epoch FROM invited_until - {EPOCH}) * 1000000)::bigint
                  FROM config.console_user JOIN config.organization AS o USING (organization_id) WHERE invitation IS NOT NULL AND o.name = %s""", [organization])
        for user, hash, salt, maker, end in rows:
            tag = self.tag("attested invitation", [user.bytes, bytes(hash), bytes(salt), maker.encode(), b"\1" + struct.pack(">q", end)])
            grants[self.name("invitation", [user.bytes])] = tag[:16]
        self.sign(grants, organization)
