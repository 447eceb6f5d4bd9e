-- What the service itself last wrote about each organization: the key in force, the rows that grant power, and the end of the
-- chain of security events, all under one tag of the key-encryption key. A row that is not in the list grants nothing, so that
-- an older row that is put back, or a revocation that is undone by SQL, has no effect.
-- The program fills the table for organizations that are there already, in the transaction of this file.

CREATE TABLE config.attested_state (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    revision bigint NOT NULL CHECK (revision > 0),
    key_version integer NOT NULL CHECK (key_version > 0),
    fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{16}$'),
    grants bytea NOT NULL CHECK (octet_length(grants) % 32 = 0),
    grants_digest bytea NOT NULL CHECK (octet_length(grants_digest) = 32),
    events bigint NOT NULL CHECK (events >= 0),
    newest_event bigint NOT NULL CHECK (newest_event >= 0),
    head bytea NOT NULL CHECK (octet_length(head) IN (0, 32)),
    kek_id text NOT NULL CHECK (kek_id ~ '^[0-9a-f]{16}$'),
    tag bytea NOT NULL CHECK (octet_length(tag) = 32)
) WITH (fillfactor = 50);
COMMENT ON TABLE config.attested_state IS
    'Per organization: the key in force, the rows that grant power and the end of the event chain, under a tag of the key-encryption key.';
COMMENT ON COLUMN config.attested_state.revision IS 'Grows with every change of the key or of a row that grants power; a server refuses a lower one.';
COMMENT ON COLUMN config.attested_state.grants IS 'A list of 16 bytes that name a row and 16 bytes of its tag, sorted.';
COMMENT ON COLUMN config.attested_state.grants_digest IS 'SHA-256 of the list.';
COMMENT ON COLUMN config.attested_state.events IS 'How many security events there are.';
COMMENT ON COLUMN config.attested_state.newest_event IS 'The number of the newest security event; head is its hash.';
COMMENT ON COLUMN config.attested_state.tag IS 'HMAC under a subkey of the key-encryption key, over the other columns but the list itself.';
-- The service changes the row. It never makes one: a missing row is an error that `fieldseal org attach` mends.
GRANT SELECT, UPDATE ON config.attested_state TO fieldseal_service;
GRANT SELECT ON config.attested_state TO fieldseal_inspector;

-- What the attested state replaces. The program reads it once more before this transaction ends.
CREATE TEMPORARY TABLE former_event_chain ON COMMIT DROP AS SELECT organization_id, length, head, tag FROM config.event_chain;
DROP TABLE config.event_chain;

-- Sessions and recovery codes had no tag. Sessions begin anew; recovery codes get theirs with the attested state.
DELETE FROM config.console_session;
ALTER TABLE config.console_session ADD COLUMN tag bytea NOT NULL CHECK (octet_length(tag) = 32);
ALTER TABLE config.console_recovery_code ADD COLUMN tag bytea CHECK (octet_length(tag) = 32);
