-- Where each organization's chain of security events begins after old events were archived, and how far it was verified.
-- Both rows carry a tag of the key-encryption key: a row that SQL wrote does not verify.

CREATE TABLE config.event_archive (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    events bigint NOT NULL CHECK (events >= 0),
    last_id bigint NOT NULL,
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    last_occurred_on timestamptz NOT NULL,
    kek_id text NOT NULL,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32)
);
COMMENT ON TABLE config.event_archive IS 'The beginning of each chain of security events whose old events were moved to a file.';
COMMENT ON COLUMN config.event_archive.events IS 'How many events were archived in all.';
COMMENT ON COLUMN config.event_archive.last_id IS 'The id of the newest archived event.';
COMMENT ON COLUMN config.event_archive.head IS 'The hash of the newest archived event: previous_hash of the oldest event in the table.';

CREATE TABLE config.event_checkpoint (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    last_id bigint NOT NULL,
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    verified_on timestamptz NOT NULL,
    kek_id text NOT NULL,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32)
);
COMMENT ON TABLE config.event_checkpoint IS 'The newest security event of each organization up to which the chain was verified from its beginning.';

-- Only the migration role archives. The service verifies, and records how far.
GRANT SELECT ON config.event_archive TO fieldseal_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON config.event_checkpoint TO fieldseal_service;
GRANT SELECT ON config.event_archive, config.event_checkpoint TO fieldseal_inspector;
