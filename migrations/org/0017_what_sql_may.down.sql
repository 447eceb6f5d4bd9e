-- Lost: the tags of e-mails that wait to be sent. After the next upgrade they have to be sent again.
-- Runs with the organization's schema as search_path; no schema is named here.

DELETE FROM mail_destination AS d WHERE d.entity = 'emailserverprofile'
   AND NOT EXISTS (SELECT FROM emailserverprofile AS p WHERE p.emailserverprofileid = d.record_id);
CREATE TRIGGER forgets_destination AFTER DELETE ON emailserverprofile FOR EACH ROW EXECUTE FUNCTION forget_destination();
ALTER TABLE email DROP COLUMN submission_tag;
COMMENT ON TABLE audit_setting IS 'Whether an entity''s changes are audited (attribute is empty), and attributes that are left out.';
GRANT INSERT, UPDATE, DELETE ON audit_setting TO fieldseal_service;
