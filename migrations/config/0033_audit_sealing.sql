-- The row that a server locks while it seals an organization's audit. All who can connect can take an advisory lock, and so could keep
-- the audit from being sealed. Only the service and the owner can lock this row.

CREATE TABLE config.audit_sealing (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE
);
COMMENT ON TABLE config.audit_sealing IS 'Organizations whose audit was sealed. A server locks the row while it seals more.';
GRANT SELECT, INSERT, UPDATE ON config.audit_sealing TO fieldseal_service;
GRANT SELECT ON config.audit_sealing TO fieldseal_inspector;

-- Servers of the version before do not need it. If one of them seals at the same time, one of the two rolls back.
INSERT INTO config.compatible_migration VALUES ('0033_audit_sealing');
