-- Lost: nothing but the protection; the service's role may rename organizations and change the history of keys again.

GRANT INSERT, UPDATE, DELETE ON config.organization TO fieldseal_service;
REVOKE UPDATE (wrapped_text, wrapped_data, copied_on, retired_on, purged_on) ON config.organization_key FROM fieldseal_service;
GRANT UPDATE, DELETE ON config.organization_key TO fieldseal_service;
