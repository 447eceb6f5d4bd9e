-- Lost: what the running servers refuse, until they say it again.

ALTER TABLE config.server DROP COLUMN refused, DROP COLUMN revisions, DROP COLUMN reasons;
DELETE FROM config.compatible_migration WHERE name = '0029_refused_organizations';
