-- Lost: References of e-mails, and which messages were looked at or set aside. Routers look at all messages of POP3 again; records stay single.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP TRIGGER forgets_messages ON mailbox;
DROP FUNCTION forget_mailbox_messages();
DROP TABLE mailbox_message;
ALTER TABLE email DROP COLUMN message_references;
