-- Routers that wait for work: which of them are alive, which mailboxes they watch, and what wakes them.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE mail_router (
    router text PRIMARY KEY CHECK (length(router) BETWEEN 1 AND 160),
    started_on timestamptz NOT NULL DEFAULT now(),
    seen_on timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE mail_router IS 'Routers that asked for work lately. One that has not asked for 90 seconds counts as gone.';

CREATE TABLE mailbox_watch (
    mailboxid uuid PRIMARY KEY,
    router text NOT NULL,
    revision text NOT NULL,
    emailserverprofile uuid,
    since timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON mailbox_watch (router);
CREATE INDEX ON mailbox_watch (emailserverprofile);
COMMENT ON TABLE mailbox_watch IS 'Mailboxes on whose mail servers a router waits for new messages (IMAP IDLE). While that router is alive they are not polled.';
COMMENT ON COLUMN mailbox_watch.revision IS 'Settings and credential under which the router signed in.';
COMMENT ON COLUMN mailbox_watch.emailserverprofile IS 'The profile that the connection counts for.';

-- No foreign key: TRUNCATE of mailbox must be refused by its own guard, and by name.
CREATE FUNCTION forget_mailbox_watch() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM mailbox_watch WHERE mailboxid = OLD.mailboxid;
    RETURN NULL;
END $$;
CREATE TRIGGER forgets_watch AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_mailbox_watch();

-- Leases are counted for each profile.
CREATE INDEX mailbox_leased ON mailbox (emailserverprofile) WHERE processingstatecode = 1;
-- Failed e-mails are counted for each mailbox.
CREATE INDEX email_failed ON email (sendermailboxid) WHERE statuscode = 8;

-- Servers listen to fieldseal_mail_work. The payload is the schema; all notices of one transaction are one.
CREATE FUNCTION notify_routers() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('fieldseal_mail_work', TG_TABLE_SCHEMA);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION notify_routers IS 'Wakes the routers of this organization that wait for work.';

CREATE TRIGGER wakes_routers_when_created AFTER INSERT ON email FOR EACH ROW WHEN (NEW.statuscode = 6) EXECUTE FUNCTION notify_routers();
CREATE TRIGGER wakes_routers AFTER UPDATE OF statuscode, delayedemailsendtime, postponeemailprocessinguntil ON email
    FOR EACH ROW WHEN (NEW.statuscode = 6) EXECUTE FUNCTION notify_routers();
CREATE TRIGGER wakes_routers_when_created AFTER INSERT ON mailbox FOR EACH ROW
    WHEN (NEW.emailserverprofile IS NOT NULL
        AND (NEW.testemailconfigurationscheduled OR NEW.enabledforincomingemail OR NEW.enabledforoutgoingemail))
    EXECUTE FUNCTION notify_routers();
-- A notice makes commits wait for each other, so mailboxes without a profile send none. Leases and reports of routers change none of
-- these attributes, but for the end of a test.
CREATE TRIGGER wakes_routers AFTER UPDATE ON mailbox FOR EACH ROW
    WHEN (coalesce(NEW.emailserverprofile, OLD.emailserverprofile) IS NOT NULL AND ((NEW.versionnumber, NEW.enabledforincomingemail, NEW.enabledforoutgoingemail, NEW.testemailconfigurationscheduled,
            NEW.emailrouteraccessapproval, NEW.statecode, NEW.emailserverprofile)
        IS DISTINCT FROM (OLD.versionnumber, OLD.enabledforincomingemail, OLD.enabledforoutgoingemail, OLD.testemailconfigurationscheduled,
            OLD.emailrouteraccessapproval, OLD.statecode, OLD.emailserverprofile)
        OR coalesce(NEW.postponemailboxprocessinguntil, '-infinity') < coalesce(OLD.postponemailboxprocessinguntil, '-infinity')))
    EXECUTE FUNCTION notify_routers();
CREATE TRIGGER wakes_routers_when_deleted AFTER DELETE ON mailbox FOR EACH ROW
    WHEN (OLD.emailserverprofile IS NOT NULL) EXECUTE FUNCTION notify_routers();
CREATE TRIGGER wakes_routers AFTER UPDATE ON emailserverprofile FOR EACH ROW
    WHEN ((NEW.versionnumber, NEW.statecode, NEW.maxconcurrentconnections) IS DISTINCT FROM (OLD.versionnumber, OLD.statecode, OLD.maxconcurrentconnections))
    EXECUTE FUNCTION notify_routers();
CREATE TRIGGER wakes_routers AFTER UPDATE ON queue FOR EACH ROW
    WHEN (NEW.versionnumber IS DISTINCT FROM OLD.versionnumber AND NEW.defaultmailbox IS NOT NULL) EXECUTE FUNCTION notify_routers();
CREATE TRIGGER wakes_routers AFTER UPDATE ON usersettings FOR EACH ROW
    WHEN (NEW.versionnumber IS DISTINCT FROM OLD.versionnumber AND NEW.allowemailcredentials) EXECUTE FUNCTION notify_routers();

REVOKE ALL ON FUNCTION forget_mailbox_watch(), notify_routers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_mailbox_watch(), notify_routers() TO fieldseal_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON mail_router, mailbox_watch TO fieldseal_service;
GRANT SELECT ON mail_router, mailbox_watch, mailbox_message TO fieldseal_inspector;
