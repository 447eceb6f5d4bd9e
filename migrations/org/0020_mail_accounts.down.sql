-- Lost: an older program accepts no tag that covers user names. It releases no credential until a System Administrator saves each profile
-- and each mailbox again.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP TRIGGER forgets_destination ON queue;
DROP TRIGGER forgets_destination ON usersettings;
DELETE FROM mail_destination WHERE entity IN ('queue', 'usersettings');
ALTER TABLE mail_destination DROP CONSTRAINT mail_destination_entity_check,
    ADD CONSTRAINT mail_destination_entity_check CHECK (entity IN ('emailserverprofile', 'mailbox'));
COMMENT ON TABLE mail_destination IS 'Tags of the key-encryption key over the settings that decide where credentials go. A profile or mailbox whose settings do not fit its tag releases no credential.';
CREATE OR REPLACE FUNCTION forget_destination() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM mail_destination WHERE entity = TG_TABLE_NAME
       AND record_id = CASE TG_TABLE_NAME WHEN 'mailbox' THEN (to_jsonb(OLD) ->> 'mailboxid')::uuid ELSE (to_jsonb(OLD) ->> 'emailserverprofileid')::uuid END;
    RETURN NULL;
END $$;
