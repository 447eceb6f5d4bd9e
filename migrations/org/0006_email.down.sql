-- Lost: every e-mail, and every alert.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP TABLE activityparty, activitymimeattachment, tracelog, email;
DROP FUNCTION email_keeps_state(), attachment_is_counted();
DROP SEQUENCE tracking_number;
DELETE FROM audit_setting WHERE entity = 'mailbox' AND attribute <> '';
ALTER TABLE mailbox DROP COLUMN router_state;
DELETE FROM principal_access WHERE entity = 'email';
ALTER TABLE principal_access DROP CONSTRAINT principal_access_entity_check,
    ADD CHECK (entity IN ('emailserverprofile', 'mailbox', 'queue'));
