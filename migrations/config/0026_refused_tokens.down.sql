-- Lost: nothing.

GRANT INSERT ON config.exposed_token TO fieldseal_service;

DROP FUNCTION config.refuse_token(bytea, timestamptz, boolean);
