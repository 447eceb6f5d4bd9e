-- Lost: nothing.

GRANT EXECUTE ON FUNCTION config.keep_organization_key() TO fieldseal_service;
DELETE FROM config.compatible_migration WHERE name = '0034_trigger_functions';
