-- Lost: which routers are alive, and which mailboxes they watch. They ask anew, and poll meanwhile.
-- Runs with the organization's schema as search_path; no schema is named here.

REVOKE SELECT ON mailbox_message FROM fieldseal_inspector;
DROP TRIGGER forgets_watch ON mailbox;
DROP TRIGGER wakes_routers_when_created ON mailbox;
DROP TRIGGER wakes_routers_when_deleted ON mailbox;
DROP TRIGGER wakes_routers ON mailbox;
DROP TRIGGER wakes_routers_when_created ON email;
DROP TRIGGER wakes_routers ON email;
DROP TRIGGER wakes_routers ON emailserverprofile;
DROP TRIGGER wakes_routers ON queue;
DROP TRIGGER wakes_routers ON usersettings;
DROP FUNCTION notify_routers();
DROP FUNCTION forget_mailbox_watch();
DROP TABLE mailbox_watch;
DROP TABLE mail_router;
DROP INDEX mailbox_leased, email_failed;
