-- Each table and each function says to a DBA what it is for.
-- Runs with the organization's schema as search_path; no schema is named here.

COMMENT ON TABLE businessunit IS 'Business units. Each organization begins with one.';
COMMENT ON TABLE emailserverprofile IS
    'E-mail server profiles: mail servers, and how the mailboxes that use them sign in. Passwords are in emailserverprofile_cell.';
COMMENT ON TABLE emailserverprofile_cell IS
    'The encrypted passwords of e-mail server profiles, a row for each profile that has some. There is a partition for each key version.';
COMMENT ON TABLE mailbox IS
    'Mailboxes of users and queues: addresses, delivery methods and the state of the last run. Passwords are in mailbox_cell.';
COMMENT ON TABLE mailbox_cell IS
    'The encrypted passwords of mailboxes, a row for each mailbox that has one. There is a partition for each key version.';
COMMENT ON TABLE migration IS
    'Migrations that were applied to this schema, with the SHA-256 of each. fieldseal migrate writes it. Do not change it.';
COMMENT ON TABLE organization IS
    'One row: the settings of this organization, such as its name, its fiscal year and how it tracks e-mails.';
COMMENT ON TABLE queue IS 'Queues of teams and users, with an e-mail address and a mailbox. Passwords are in queue_cell.';
COMMENT ON TABLE queue_cell IS
    'The encrypted passwords of queues, a row for each queue that has one. There is a partition for each key version.';
COMMENT ON TABLE role IS 'Security roles. Their names and ids can be read; what each may do is in the program.';
COMMENT ON TABLE systemuser IS 'Users. A client of the API and a person of the console act as one of them.';
COMMENT ON TABLE team IS 'Teams, which can own records and to which records can be shared.';
COMMENT ON TABLE transactioncurrency IS 'Currencies, to which users refer.';
COMMENT ON TABLE usersettings IS
    'Settings of each user, such as the sign-in to a mail server. Passwords are in usersettings_cell.';
COMMENT ON TABLE usersettings_cell IS
    'The encrypted passwords of users, a row for each user who has one. There is a partition for each key version.';

COMMENT ON FUNCTION attachment_is_counted() IS 'Trigger: keeps email.attachmentcount equal to the number of attachments.';
COMMENT ON FUNCTION audit_change() IS 'Trigger: writes each change of a record to the audit. Encrypted attributes are left out.';
COMMENT ON FUNCTION audit_password() IS
    'Trigger: writes to the audit that a password was set, replaced or cleared, and by whom. It compares encrypted values and keeps none.';
COMMENT ON FUNCTION chain_security_event() IS 'Trigger: gives a security event the hash of the event before it, and its own.';
COMMENT ON FUNCTION email_keeps_state() IS 'Trigger: derives the state of an e-mail from its status reason.';
COMMENT ON FUNCTION emailserverprofile_cell_needs_record() IS
    'Trigger: refuses an encrypted password without its record in emailserverprofile (23503).';
COMMENT ON FUNCTION emailserverprofile_notes_change() IS
    'Trigger: while a key change runs, notes each write to emailserverprofile_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION emailserverprofile_takes_cells_along() IS
    'Trigger: deletes a record''s encrypted passwords when the record in emailserverprofile is deleted.';
COMMENT ON FUNCTION forget_access() IS 'Trigger: deletes what was shared of a record when the record is deleted.';
COMMENT ON FUNCTION forget_destination() IS
    'Trigger: deletes the tag over a record''s mail server settings when the record is deleted.';
COMMENT ON FUNCTION forget_mailbox_messages() IS
    'Trigger: deletes what a router noted about the messages of a mailbox when the mailbox is deleted.';
COMMENT ON FUNCTION forget_mailbox_watch() IS 'Trigger: ends a router''s watch over a mailbox when the mailbox is deleted.';
COMMENT ON FUNCTION keep_encryption() IS
    'Trigger: refuses each change of the table encryption outside of a key change (FS012), and each key version that is not newer (FS001).';
COMMENT ON FUNCTION mailbox_cell_needs_record() IS
    'Trigger: refuses an encrypted password without its record in mailbox (23503).';
COMMENT ON FUNCTION mailbox_notes_change() IS
    'Trigger: while a key change runs, notes each write to mailbox_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION mailbox_takes_cells_along() IS
    'Trigger: deletes a record''s encrypted passwords when the record in mailbox is deleted.';
COMMENT ON FUNCTION queue_cell_needs_record() IS 'Trigger: refuses an encrypted password without its record in queue (23503).';
COMMENT ON FUNCTION queue_notes_change() IS
    'Trigger: while a key change runs, notes each write to queue_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION queue_takes_cells_along() IS
    'Trigger: deletes a record''s encrypted passwords when the record in queue is deleted.';
COMMENT ON FUNCTION refuse_audit_change() IS 'Trigger: refuses to change, delete or truncate rows of the audit (FS013).';
COMMENT ON FUNCTION refuse_encrypted_setting() IS 'Trigger: refuses audit settings for encrypted attributes (FS008).';
COMMENT ON FUNCTION refuse_event_change() IS 'Trigger: refuses to change, delete or truncate security events (FS007).';
COMMENT ON FUNCTION refuse_new_id() IS
    'Trigger: refuses a new id of a record, or of the row with its encrypted passwords (FS004).';
COMMENT ON FUNCTION refuse_retired() IS 'Trigger: refuses each write to encrypted passwords of a former key version (FS001).';
COMMENT ON FUNCTION refuse_truncate() IS 'Trigger: refuses TRUNCATE of records and of encrypted passwords (FS003).';
COMMENT ON FUNCTION usersettings_cell_needs_record() IS
    'Trigger: refuses an encrypted password without its record in usersettings (23503).';
COMMENT ON FUNCTION usersettings_notes_change() IS
    'Trigger: while a key change runs, notes each write to usersettings_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION usersettings_takes_cells_along() IS
    'Trigger: deletes a record''s encrypted passwords when the record in usersettings is deleted.';
