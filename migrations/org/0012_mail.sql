-- References of e-mails, and what a router knows of single messages of a mailbox.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE email ADD COLUMN message_references text;
COMMENT ON COLUMN email.message_references IS 'The ids of the References field, oldest first, with blanks between them.';

CREATE TABLE mailbox_message (
    mailboxid uuid NOT NULL,
    uid text NOT NULL CHECK (length(uid) BETWEEN 1 AND 100),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt timestamptz,
    reason text,
    message_id text,
    noted_on timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (mailboxid, uid)
);
CREATE INDEX ON mailbox_message (mailboxid, next_attempt) WHERE next_attempt IS NOT NULL;
COMMENT ON TABLE mailbox_message IS 'Messages on a mail server, one a row: those of POP3 that were looked at, and those of any server that could not be fetched.';
COMMENT ON COLUMN mailbox_message.uid IS 'UIDVALIDITY:UID of IMAP, or the unique id of POP3.';
COMMENT ON COLUMN mailbox_message.next_attempt IS 'When a message that was set aside is fetched again; null for one that was looked at.';
GRANT SELECT, INSERT, UPDATE, DELETE ON mailbox_message TO fieldseal_service;

-- No foreign key: TRUNCATE of mailbox must be refused by its own guard, and by name.
CREATE FUNCTION forget_mailbox_messages() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM mailbox_message WHERE mailboxid = OLD.mailboxid;
    RETURN NULL;
END $$;
CREATE TRIGGER forgets_messages AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_mailbox_messages();
REVOKE ALL ON FUNCTION forget_mailbox_messages() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_mailbox_messages() TO fieldseal_service;
