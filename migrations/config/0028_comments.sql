-- Each table and each function says to a DBA what it is for.

COMMENT ON SCHEMA config IS 'Fieldseal: the organizations of this deployment, their wrapped keys, and who may sign in.';
COMMENT ON SCHEMA cell IS 'Fieldseal: functions that read the header of an encrypted password. They decrypt nothing.';
COMMENT ON TABLE config.migration IS
    'Migrations that were applied to config and to each organization, with the SHA-256 of each. fieldseal migrate writes it. Do not change it.';
COMMENT ON FUNCTION config.keep_organization_key() IS
    'Trigger: refuses to delete or truncate keys in use, and to write a wrapped key anew outside of a rotation of the key-encryption key (FS006).';

-- Servers of the version before need none of it.
INSERT INTO config.compatible_migration VALUES ('0028_comments');
