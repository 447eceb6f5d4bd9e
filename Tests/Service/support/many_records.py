"""100,000 mailboxes, 100,000 e-mails, 1,000,000 security events and 1,000,000 changes, and the pages of the console that are slow with lists of that size."""

MAILBOXES, EMAILS, EVENTS, CHANGES = 100_000, 100_000, 1_000_000, 1_000_000
PAGES = (
    "overview", "records/mailboxes", "records/mailboxes?page=3999", "records/mailboxes?sort=-lastsuccessfulsynccompletedon", "records/mailboxes?sort=emailaddress&page=2000",
    "records/mailboxes?f.lastsuccessfulsynccompletedon=older-24h", "records/mailboxes?q=box99", "records/mailboxes?status=failing", "records/mailboxes?f.emailserverprofile=test",
    "records/mailboxes?sort=-emailserverprofile&page=2000", "records/queues?sort=ownerid", "records/emails", "records/emails?page=3999", "records/emails?sort=-createdon&page=2000",
    "records/emails?sort=sender", "records/emails?sort=torecipients&page=2000", "records/emails?sort=-statuscode", "records/emails?q=person99", "records/emails?q=nobody-like-this",
    "records/emails?f.createdon=older-24h", "records/emails?status=8",
    "events", "events?kind=key+changed", "events?kind=credential+released&before=500000", "events?actor=user:admin", "events?record=nothing-like-this", "events?outcome=refused",
    "audit", "audit?page=100", "audit?table=mailbox&operation=2", "audit?person=dev-user", "audit?table=queue&operation=3", "access", "retention")


def fill(deployment):
    # Verification sets a checkpoint, and the events are inserted before it. After it, the service would refuse events that it did not write.
    deployment.run("events", "verify", "--org", "contoso")
    deployment.sql(f"""
        SET session_replication_role = replica;
        INSERT INTO org_contoso.mailbox (mailboxid, name, emailaddress, ownerid, owneridtype, emailrouteraccessapproval, incomingemailstatus, statecode, statuscode, emailserverprofile)
        SELECT gen_random_uuid(), 'Box ' || n, 'box' || n || '@contoso.test', u.systemuserid, 'systemuser', 1, 1, 0, 1, p.emailserverprofileid
          FROM generate_series(1, {MAILBOXES}) AS n, (SELECT systemuserid FROM org_contoso.systemuser LIMIT 1) AS u,
               (SELECT emailserverprofileid FROM org_contoso.emailserverprofile LIMIT 1) AS p;
        INSERT INTO org_contoso.email (activityid, subject, description, sender, torecipients, directioncode, statecode, statuscode, ownerid, owneridtype, createdon, actualend, senton)
        SELECT md5('email ' || n)::uuid, 'Question ' || n, 'Text ' || n, 'person' || n || '@example.com', 'support' || n % 50 || '@contoso.test', false, 1, 4, u.systemuserid, 'systemuser',
               now() - n * interval '1 minute', now() - n * interval '1 minute', now() - n * interval '1 minute'
          FROM generate_series(1, {EMAILS}) AS n, (SELECT systemuserid FROM org_contoso.systemuser LIMIT 1) AS u;
        INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused)
        SELECT gen_random_uuid(), md5('email ' || n)::uuid, m, CASE m WHEN 1 THEN 'person' || n || '@example.com' WHEN 2 THEN 'support' || n % 50 || '@contoso.test' ELSE 'copy' || n || '@example.com' END
          FROM generate_series(1, {EMAILS}) AS n, generate_series(1, 3) AS m;
        INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
        SELECT m.n - s, now() - interval '1 day' - s * interval '0.8 seconds', CASE WHEN s % 50 = 0 THEN 'signed in' ELSE 'credential released' END, 'succeeded', 'client:dev-router',
               'Incoming, mailbox 01a20cae-4075-7b56-a73f-c784dcc6f9eb, from mailbox, for imap.example.com:993', sha256('a'), sha256('b')
          FROM generate_series(1, {EVENTS}) AS s, (SELECT min(security_event_id) AS n FROM org_contoso.security_event) AS m;
        INSERT INTO org_contoso.audit (createdon, action, operation, objectid, objecttypecode, useridname, changedata)
        SELECT now() - s * interval '1 second', 2, 2, gen_random_uuid(), 'mailbox', 'dev-admin', '{{"changedAttributes":[{{"logicalName":"name","oldValue":"a","newValue":"b"}}]}}'
          FROM generate_series(1, {CHANGES}) AS s""")
    for table in ("mailbox", "email", "activityparty", "security_event", "audit"):
        deployment.sql(f"VACUUM ANALYZE org_contoso.{table}")
