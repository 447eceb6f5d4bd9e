-- The link with which a person chooses a password: who made it and when it ends are shown, and it can be withdrawn.

ALTER TABLE config.console_user
    ADD COLUMN invitation bytea,
    ADD COLUMN invited_by text,
    ADD COLUMN invited_until timestamptz;
COMMENT ON COLUMN config.console_user.invitation IS
    'The SHA-256 of the secret in the link with which the person chooses a password; null if no link waits. The attested list has its tag.';
COMMENT ON COLUMN config.console_user.invited_by IS 'The person or client that made the link.';
COMMENT ON COLUMN config.console_user.invited_until IS 'When the link ends.';

-- Servers of the version before write none of them. A link that they make is refused by later servers.
INSERT INTO config.compatible_migration VALUES ('0030_invitations');
