-- Lost: which settings of profiles and mailboxes were authorized, and who submitted e-mails that wait to be sent.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP TRIGGER forgets_destination ON emailserverprofile;
DROP TRIGGER forgets_destination ON mailbox;
DROP FUNCTION forget_destination();
DROP TABLE mail_destination;
ALTER TABLE email DROP COLUMN submitter, DROP COLUMN submitter_is_administrator;
CREATE OR REPLACE FUNCTION forget_access() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DELETE FROM %I.principal_access WHERE record_id = ($1).%I', TG_TABLE_SCHEMA, TG_ARGV[0]) USING OLD;
    RETURN NULL;
END $$;
DELETE FROM principal_access AS a USING principal_access AS b
 WHERE (a.record_id, a.principal_id) = (b.record_id, b.principal_id) AND a.entity > b.entity;
ALTER TABLE principal_access DROP CONSTRAINT principal_access_pkey, ADD PRIMARY KEY (record_id, principal_id);
