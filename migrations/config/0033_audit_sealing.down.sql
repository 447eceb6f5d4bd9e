-- Lost: nothing.

DROP TABLE config.audit_sealing;
DELETE FROM config.compatible_migration WHERE name = '0033_audit_sealing';
