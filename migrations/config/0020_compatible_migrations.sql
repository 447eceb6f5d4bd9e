-- A server whose database is newer than it knows serves on if all that is newer is named here. A later migration of this scope that
-- servers of the version before can work with inserts its own name.
CREATE TABLE config.compatible_migration (name text PRIMARY KEY);
COMMENT ON TABLE config.compatible_migration IS
    'Migrations of config with which servers of the version before serve on, so that servers can be updated in turn.';
GRANT SELECT ON config.compatible_migration TO fieldseal_service, fieldseal_inspector;
