-- Lost: what psql says about tables and functions.

DELETE FROM config.compatible_migration WHERE name = '0028_comments';
COMMENT ON FUNCTION config.keep_organization_key() IS NULL;
COMMENT ON TABLE config.migration IS NULL;
COMMENT ON SCHEMA cell IS NULL;
COMMENT ON SCHEMA config IS NULL;
