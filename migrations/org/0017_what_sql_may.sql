-- The service's role can't switch the audit off, an e-mail is handed over as it was submitted, and a profile whose servers were
-- changed or that was deleted does not come back.
-- Runs with the organization's schema as search_path; no schema is named here.

REVOKE INSERT, UPDATE, DELETE ON audit_setting FROM fieldseal_service;
COMMENT ON TABLE audit_setting IS
    'Whether an entity''s changes are audited (attribute is empty), and attributes that are left out. The owner writes it, not the service.';

ALTER TABLE email ADD COLUMN submission_tag bytea CONSTRAINT submission_tag_length CHECK (octet_length(submission_tag) = 32);
COMMENT ON COLUMN email.submission_tag IS
    'Made with the key-encryption key by SendEmail over who submitted the e-mail, its sender, its recipients and its content.';

-- The program remembers which settings of a profile were authorized last. The tag of a profile that was deleted says that there was one.
DROP TRIGGER forgets_destination ON emailserverprofile;
