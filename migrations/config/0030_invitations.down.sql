-- Lost: the links with which people choose a password. New ones can be made.

ALTER TABLE config.console_user DROP COLUMN invitation, DROP COLUMN invited_by, DROP COLUMN invited_until;
DELETE FROM config.compatible_migration WHERE name = '0030_invitations';
