-- The user name of a credential is bound to it as the server is: queues and the settings of users have tags too.
-- Runs with the organization's schema as search_path; no schema is named here. The program binds the user names that are there.

ALTER TABLE mail_destination DROP CONSTRAINT mail_destination_entity_check,
    ADD CONSTRAINT mail_destination_entity_check CHECK (entity IN ('emailserverprofile', 'mailbox', 'queue', 'usersettings'));
COMMENT ON TABLE mail_destination IS 'Tags of the key-encryption key over the settings that decide where credentials go, and as which account they sign in. A record whose settings do not fit its tag releases no credential.';

CREATE OR REPLACE FUNCTION forget_destination() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM mail_destination WHERE entity = TG_TABLE_NAME
       AND record_id = (to_jsonb(OLD) ->> CASE TG_TABLE_NAME
               WHEN 'mailbox' THEN 'mailboxid' WHEN 'queue' THEN 'queueid' WHEN 'usersettings' THEN 'systemuserid'
               ELSE 'emailserverprofileid' END)::uuid;
    RETURN NULL;
END $$;
CREATE TRIGGER forgets_destination AFTER DELETE ON queue FOR EACH ROW EXECUTE FUNCTION forget_destination();
CREATE TRIGGER forgets_destination AFTER DELETE ON usersettings FOR EACH ROW EXECUTE FUNCTION forget_destination();
