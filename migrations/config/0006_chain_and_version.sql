-- The length and the head of each organization's chain of security events, apart from the chain: a tail that was cut off
-- shows here. `tag` is made with the key-encryption key, so that nobody cuts both.

CREATE TABLE config.event_chain (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    length bigint NOT NULL CHECK (length > 0),
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    tag bytea NOT NULL CHECK (octet_length(tag) = 32)
);
COMMENT ON TABLE config.event_chain IS 'How many security events each organization has, and the hash of the newest; `fieldseal doctor` compares.';
GRANT SELECT, INSERT, UPDATE ON config.event_chain TO fieldseal_service;
GRANT SELECT ON config.event_chain TO fieldseal_inspector;

-- The newest migration of each organization's schema, beside its name: a server refuses an organization that is older or newer
-- than it knows, and goes on with the others.
ALTER TABLE config.organization ADD COLUMN schema_version text;
UPDATE config.organization AS o SET schema_version =
    (SELECT max(m.name) FROM config.migration AS m WHERE m.scope = 'org' AND m.organization_id = o.organization_id);
COMMENT ON COLUMN config.organization.schema_version IS 'The newest migration that was applied to the schema; written by the one that applies it.';

REVOKE ALL ON FUNCTION config.keep_organization_key() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION config.keep_organization_key() TO fieldseal_service;
