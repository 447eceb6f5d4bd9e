-- Which settings of profiles and mailboxes a credential may be released under, and who submitted an e-mail for sending.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE mail_destination (
    entity text NOT NULL CHECK (entity IN ('emailserverprofile', 'mailbox')),
    record_id uuid NOT NULL,
    kek_id text NOT NULL,
    tag bytea NOT NULL CHECK (length(tag) = 32),
    authorized_on timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (entity, record_id)
);
COMMENT ON TABLE mail_destination IS 'Tags of the key-encryption key over the settings that decide where credentials go. A profile or mailbox whose settings do not fit its tag releases no credential.';
COMMENT ON COLUMN mail_destination.kek_id IS 'The key-encryption key that the tag was made with.';
COMMENT ON COLUMN mail_destination.authorized_on IS 'When the service last accepted a change of these settings.';

CREATE FUNCTION forget_destination() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM mail_destination WHERE entity = TG_TABLE_NAME
       AND record_id = CASE TG_TABLE_NAME WHEN 'mailbox' THEN (to_jsonb(OLD) ->> 'mailboxid')::uuid ELSE (to_jsonb(OLD) ->> 'emailserverprofileid')::uuid END;
    RETURN NULL;
END $$;
CREATE TRIGGER forgets_destination AFTER DELETE ON emailserverprofile FOR EACH ROW EXECUTE FUNCTION forget_destination();
CREATE TRIGGER forgets_destination AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_destination();

-- Whether a submitter may send as the sender is checked again when a router takes the e-mail.
ALTER TABLE email ADD COLUMN submitter uuid, ADD COLUMN submitter_is_administrator boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN email.submitter IS 'The systemuser that called SendEmail.';
COMMENT ON COLUMN email.submitter_is_administrator IS 'Whether the submitter was a System Administrator, who may send as every user and queue.';
UPDATE email SET submitter = coalesce(createdby, ownerid) WHERE statuscode IN (6, 7);

-- Clients choose ids: a share of one entity's record gives no right to another entity's record with the same id.
ALTER TABLE principal_access DROP CONSTRAINT principal_access_pkey, ADD PRIMARY KEY (entity, record_id, principal_id);
CREATE OR REPLACE FUNCTION forget_access() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DELETE FROM %I.principal_access WHERE entity = %L AND record_id = ($1).%I', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0])
        USING OLD;
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION forget_destination() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_destination() TO fieldseal_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON mail_destination TO fieldseal_service;
GRANT SELECT ON mail_destination TO fieldseal_inspector;
