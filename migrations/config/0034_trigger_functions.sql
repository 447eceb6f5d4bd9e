-- Nobody but the owner may make triggers of the function for triggers that the service could execute (see org/0033).

REVOKE ALL ON FUNCTION config.keep_organization_key() FROM PUBLIC, fieldseal_service;

-- Servers of the version before do not need it.
INSERT INTO config.compatible_migration VALUES ('0034_trigger_functions');
