-- The service's role writes no more of `config` than the service does. Who made a key and when, and which organizations there are,
-- can't be changed with the service's password.

REVOKE INSERT, UPDATE, DELETE ON config.organization FROM fieldseal_service;
REVOKE UPDATE, DELETE ON config.organization_key FROM fieldseal_service;
GRANT UPDATE (wrapped_text, wrapped_data, copied_on, retired_on, purged_on) ON config.organization_key TO fieldseal_service;
