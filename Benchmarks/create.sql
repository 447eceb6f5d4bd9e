-- The reference of api/create: the statements that the service sends for one `POST …/mailboxes` with a password.
-- Benchmarks/api.py sets the variables.
\set high random(0, 9223372036854775806)
\set low random(0, 9223372036854775806)
\startpipeline
SELECT CASE WHEN EXISTS (
    SELECT FROM config.attested_state AS a
      JOIN config.organization AS o USING (organization_id)
      JOIN "org_contoso"."encryption" AS e
        ON (e.organization_id, e.key_version, e.fingerprint) = (a.organization_id, a.key_version, a.fingerprint)
      JOIN config.organization_key AS k
        ON (k.organization_id, k.key_version, k.fingerprint) = (a.organization_id, a.key_version, a.fingerprint)
      JOIN config.api_client AS c ON c.client_id = :client AND c.organization_id = a.organization_id
      LEFT JOIN "org_contoso"."systemuser" AS u ON u.systemuserid = :user
     WHERE a.organization_id = :organization AND a.revision = :revision AND a.grants_digest = :digest
       AND a.newest_event = (SELECT max(security_event_id) FROM "org_contoso"."security_event")
       AND o.name = 'contoso' AND o.schema_version = :schema AND k.wrapped_data IS NOT NULL
       AND c.tag = :tag AND c.disabled_on IS NULL AND u.isdisabled IS NOT TRUE)
THEN NULL ELSE config.refuse_session() END;
INSERT INTO "org_contoso"."mailbox" ("allowemailconnectortousecredentials", "emailrouteraccessapproval", "enabledforact", "enabledforincomingemail", "enabledforoutgoingemail", "isactsyncorgflagset", "isemailaddressapprovedbyo365admin", "mailboxid", "name", "officeappsdeploymentscheduled", "orgmarkedasprimaryforexchangesync", "ownerid", "owneridname", "owneridtype", "postponemailboxprocessinguntil", "postponesendinguntil", "processanddeleteemails", "statecode", "statuscode", "testemailconfigurationretrycount", "testemailconfigurationscheduled", "verboseloggingenabled", "createdby", "createdbyname", "createdon", "forcedunlockcount", "isexchangecontactsimportscheduled", "isforwardmailbox", "ispasswordset", "isserviceaccount", "lastactiveon", "modifiedby", "modifiedbyname", "modifiedon", "organizationid", "organizationidname", "owningbusinessunit", "owningbusinessunitname", "owninguser", "processingstatecode", "transientfailurecount")
VALUES ('f', 0, 't', 't', 't', 'f', 'f', (lpad(to_hex(:high::bigint), 16, '0') || lpad(to_hex(:low::bigint), 16, '0'))::uuid, 'bench', 'f', 'f', :user, (SELECT "fullname" FROM "org_contoso"."systemuser" WHERE "systemuserid" = :user), 'systemuser', now(), now(), 'f', 0, 1, 0, 'f', 0, :user, (SELECT "fullname" FROM "org_contoso"."systemuser" WHERE "systemuserid" = :user), now(), 0, 'f', 't', 't', 'f', now(), :user, (SELECT "fullname" FROM "org_contoso"."systemuser" WHERE "systemuserid" = :user), now(), :organization, (SELECT "name" FROM "org_contoso"."organization" WHERE "organizationid" = :organization), :unit, (SELECT "name" FROM "org_contoso"."businessunit" WHERE "businessunitid" = :unit), :user, 0, 0) RETURNING versionnumber;
INSERT INTO "org_contoso"."mailbox_cell" (key_version, "mailboxid", "password")
VALUES (1, (lpad(to_hex(:high::bigint), 16, '0') || lpad(to_hex(:low::bigint), 16, '0'))::uuid, '\x01000000018f38baad0ca600917f5ea90f480d85e074fef03697c6347330781f47650c6d38b7b6e2d6d97cc35ebba1727d85ce74b9e05648a29354982afdec10894990384100112233445566778899aabbccddeeff00112233445566778899aabbccddeeff');
INSERT INTO "org_contoso"."unchained_event" (occurred_on, kind, outcome, actor, address, request_id, details, tag)
VALUES (now(), 'password set', 'succeeded', :actor, '127.0.0.1', 'adc587c6-7a75-46d3-8c04-7f22b2b21ee2', 'mailbox(01a21c8b-2106-7d6a-bd63-b1e128564643).password', '\xd3954f07394d5aa5a35fa295207766fdeeb1cc7fc265c4a545a5b2e1c4ff461f');
\endpipeline
