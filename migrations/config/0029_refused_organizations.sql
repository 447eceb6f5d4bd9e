-- A server refuses an organization whose state is older than one that it has seen. The doctor can learn that from the server alone.

ALTER TABLE config.server
    ADD COLUMN refused text[] NOT NULL DEFAULT '{}',
    ADD COLUMN revisions bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN reasons text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN config.server.refused IS 'Organizations that the server refuses, since it has seen another state of them.';
COMMENT ON COLUMN config.server.revisions IS 'The revision of each that is refused, in the same order.';
COMMENT ON COLUMN config.server.reasons IS 'The reason for each, in the same order.';

-- Servers of the version before write neither of them.
INSERT INTO config.compatible_migration VALUES ('0029_refused_organizations');
