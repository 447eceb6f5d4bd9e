-- Organizations whose audit has entries that are not sealed, so that servers look at no others. A trigger of each organization notes
-- it, at most once in half an hour.

CREATE TABLE config.unsealed_audit (
    organization_id uuid NOT NULL,
    noted_on timestamptz NOT NULL DEFAULT clock_timestamp(),
    quiet_after xid8
);
CREATE INDEX ON config.unsealed_audit (organization_id);
COMMENT ON TABLE config.unsealed_audit IS
    'Organizations whose audit servers seal. It has no unique key and no reference: no writer waits for another here.';
COMMENT ON COLUMN config.unsealed_audit.noted_on IS 'For half an hour no other note is made.';
COMMENT ON COLUMN config.unsealed_audit.quiet_after IS
    'Once transactions before this one have ended and their entries are sealed, nothing relies on the note, and it goes.';
GRANT SELECT, UPDATE, DELETE ON config.unsealed_audit TO fieldseal_service;
GRANT SELECT ON config.unsealed_audit TO fieldseal_inspector;
-- The entries of before are sealed too.
INSERT INTO config.unsealed_audit (organization_id) SELECT organization_id FROM config.organization;

-- Servers of the version before seal nothing; those of this version seal what they leave.
INSERT INTO config.compatible_migration VALUES ('0031_sealed_audit');
