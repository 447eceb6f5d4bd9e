-- E-mails, whom they are from and to, their attachments, and alerts about mailboxes.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE email (
    activityadditionalparams text,
    activityid uuid PRIMARY KEY,
    actualdurationminutes integer,
    actualend timestamptz,
    actualstart timestamptz,
    attachmentopencount integer,
    baseconversationindexhash integer,
    category text,
    conversationtrackingid uuid,
    delayedemailsendtime timestamptz,
    deliveryattempts integer,
    deliveryprioritycode integer,
    deliveryreceiptrequested boolean,
    description text,
    directioncode boolean,
    emailreminderexpirytime timestamptz,
    emailremindertext text,
    emailremindertype integer,
    emailsendername text,
    emailtrackingid uuid,
    followemailuserpreference boolean,
    importsequencenumber integer,
    isbilled boolean,
    isworkflowcreated boolean,
    lastonholdtime timestamptz,
    lastopenedtime timestamptz,
    linksclickedcount integer,
    messageid text,
    mimetype text,
    notifications integer,
    opencount integer,
    overriddencreatedon timestamptz,
    ownerid uuid,
    owneridtype text,
    parentactivityid uuid,
    prioritycode integer,
    processid uuid,
    readreceiptrequested boolean,
    regardingobjectid uuid,
    regardingobjecttypecode text,
    reminderactioncardid uuid,
    scheduledend timestamptz,
    scheduledstart timestamptz,
    sender text,
    sendersaccountname text,
    sortdate timestamptz,
    stageid uuid,
    statecode integer,
    statuscode integer,
    subcategory text,
    subject text,
    submittedby text,
    templateid uuid,
    timezoneruleversionnumber integer,
    torecipients text,
    trackingtoken text,
    transactioncurrencyid uuid,
    traversedpath text,
    utcconversiontimezonecode integer,
    activitytypecode text,
    attachmentcount integer,
    compressed boolean,
    conversationindex text,
    correlationmethod integer,
    emailreminderstatus integer,
    emailsender uuid,
    emailsenderobjecttypecode text,
    emailsenderyominame text,
    exchangerate numeric(23,10),
    inreplyto text,
    isemailfollowed boolean,
    isemailreminderset boolean,
    isregularactivity boolean,
    isunsafe integer,
    onholdtime integer,
    owneridname text,
    owneridyominame text,
    owningbusinessunit uuid,
    owningteam uuid,
    owninguser uuid,
    parentactivityidname text,
    postponeemailprocessinguntil timestamptz,
    receivingmailboxid uuid,
    receivingmailboxidname text,
    regardingobjectidname text,
    regardingobjectidyominame text,
    replycount integer,
    safedescription text,
    scheduleddurationminutes integer,
    sendermailboxid uuid,
    sendermailboxidname text,
    sendersaccount uuid,
    sendersaccountobjecttypecode text,
    sendersaccountyominame text,
    senton timestamptz,
    transactioncurrencyidname text,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamptz,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamptz,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number')
);

CREATE TABLE activityparty (
    activityid uuid,
    activitypartyid uuid PRIMARY KEY,
    addressused text,
    effort numeric(23,10),
    exchangeentryid text,
    participationtypemask integer,
    partyid uuid,
    partyidname text,
    partyobjecttypecode text,
    addressusedemailcolumnnumber integer,
    donotemail boolean,
    donotfax boolean,
    donotphone boolean,
    donotpostalmail boolean,
    ispartydeleted boolean,
    scheduledend timestamptz,
    scheduledstart timestamptz,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number')
);

CREATE TABLE activitymimeattachment (
    activitymimeattachmentid uuid PRIMARY KEY,
    objectid uuid,
    objecttypecode text,
    attachmentnumber integer,
    body text,
    filename text,
    filesize integer,
    mimetype text,
    subject text,
    isfollowed boolean,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number')
);

CREATE TABLE tracelog (
    canbedeleted boolean,
    collationlevel integer,
    errordetails text,
    errortypedisplay text,
    isunique boolean,
    level integer,
    machinename text,
    parenttracelogid uuid,
    regardingobjectid uuid,
    regardingobjecttypecode text,
    text text,
    timezoneruleversionnumber integer,
    traceactionxml text,
    tracecode integer,
    tracedetailxml text,
    tracelogid uuid PRIMARY KEY,
    traceparameterxml text,
    tracestatus boolean,
    utcconversiontimezonecode integer,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamptz,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamptz,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    organizationid uuid,
    organizationidname text,
    regardingobjectidname text,
    regardingobjectownerid uuid,
    regardingobjectowneridtype text,
    traceparameterhash integer,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number')
);

CREATE INDEX ON email (lower(messageid)) WHERE messageid IS NOT NULL;
CREATE INDEX ON email (trackingtoken) WHERE trackingtoken IS NOT NULL;
CREATE INDEX ON email (sendermailboxid, deliveryprioritycode DESC, createdon) WHERE statuscode IN (6, 7);
CREATE INDEX ON email (receivingmailboxid, createdon);
CREATE INDEX ON email (ownerid);
CREATE INDEX ON activityparty (activityid);
CREATE INDEX ON activityparty (lower(addressused));
CREATE INDEX ON activitymimeattachment (objectid);
CREATE INDEX ON tracelog (regardingobjectid, createdon);
CREATE INDEX ON systemuser (lower(internalemailaddress));
CREATE INDEX ON queue (lower(emailaddress));

ALTER TABLE activityparty ADD FOREIGN KEY (activityid) REFERENCES email ON DELETE CASCADE;
ALTER TABLE activitymimeattachment ADD FOREIGN KEY (objectid) REFERENCES email ON DELETE CASCADE;
COMMENT ON TABLE email IS 'E-mails. The id of one that came in is made of its mailbox and its bytes, so that it is there once.';
COMMENT ON TABLE activityparty IS 'Whom an e-mail is from (1) and to (2 To, 3 Cc, 4 Bcc).';
COMMENT ON TABLE activitymimeattachment IS 'Attachments of e-mails, in base64.';
COMMENT ON TABLE tracelog IS 'Alerts about mailboxes and profiles: what is wrong, and what to do.';

-- What an e-mail's status says of its state, whoever sets it.
CREATE FUNCTION email_keeps_state() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.statecode := CASE WHEN NEW.statuscode IN (1, 8) THEN 0 WHEN NEW.statuscode = 5 THEN 2 ELSE 1 END;
    RETURN NEW;
END $$;
CREATE TRIGGER keeps_state BEFORE INSERT OR UPDATE OF statuscode, statecode ON email
    FOR EACH ROW EXECUTE FUNCTION email_keeps_state();

CREATE FUNCTION attachment_is_counted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE email SET attachmentcount = (SELECT count(*) FROM activitymimeattachment AS a WHERE a.objectid = email.activityid)
     WHERE activityid IN (NEW.objectid, OLD.objectid);
    RETURN NULL;
END $$;
CREATE TRIGGER is_counted AFTER INSERT OR DELETE ON activitymimeattachment FOR EACH ROW EXECUTE FUNCTION attachment_is_counted();

-- Where a router goes on: what it knows of the server's folder. Not an attribute: a router alone reads and writes it.
ALTER TABLE mailbox ADD COLUMN router_state text;
COMMENT ON COLUMN mailbox.router_state IS 'UIDVALIDITY and the highest UID that was looked at, or the UIDLs; JSON.';
CREATE SEQUENCE tracking_number;
ALTER TABLE email ADD COLUMN is_handed_over boolean NOT NULL DEFAULT false, ADD COLUMN failure text;
COMMENT ON COLUMN email.is_handed_over IS 'Whether the mail server was ready for the message''s bytes: from then on nobody knows before it answers.';
COMMENT ON COLUMN email.failure IS 'Why it was not sent, in the mail server''s words.';

-- What a router writes at every turn says nothing to an auditor.
INSERT INTO audit_setting (entity, attribute, is_enabled)
SELECT 'mailbox', unnest(ARRAY['hostid', 'processingstatecode', 'processinglastattemptedon', 'postponemailboxprocessinguntil',
    'router_state', 'itemsprocessedforlastsync', 'itemsfailedforlastsync', 'lastsyncstartedon', 'lastsuccessfulsynccompletedon',
    'lastactiveon', 'noemailcount', 'processedtimes', 'lastduration', 'averagetotalduration', 'transientfailurecount']), false;

ALTER TABLE principal_access DROP CONSTRAINT principal_access_entity_check,
    ADD CHECK (entity IN ('emailserverprofile', 'mailbox', 'queue', 'email'));
CREATE TRIGGER forgets_access AFTER DELETE ON email FOR EACH ROW EXECUTE FUNCTION forget_access('activityid');

REVOKE ALL ON FUNCTION email_keeps_state(), attachment_is_counted() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION email_keeps_state(), attachment_is_counted() TO fieldseal_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON email, activityparty, activitymimeattachment, tracelog TO fieldseal_service;
GRANT USAGE ON SEQUENCE tracking_number TO fieldseal_service;
GRANT SELECT ON tracelog TO fieldseal_inspector;
