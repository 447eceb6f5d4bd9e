-- What one `POST …/mailboxes` with a password sends to PostgreSQL: the reference of api/create.
\set high random(0, 9223372036854775806)
\set low random(0, 9223372036854775806)
\startpipeline
SELECT CASE WHEN EXISTS (
    SELECT FROM config.organization AS o
      JOIN "org_contoso"."encryption" AS e USING (organization_id)
      LEFT JOIN config.organization_key AS k
        ON (k.organization_id, k.key_version, k.fingerprint) = (o.organization_id, e.key_version, e.fingerprint)
      LEFT JOIN config.api_client AS c ON c.organization_id = o.organization_id AND c.client_id = '01a20cae-4075-7b56-a73f-c784dcc6f9eb'
     WHERE o.name = 'contoso' AND (k.wrapped_data IS NOT NULL) = true)
THEN NULL ELSE config.refuse_session() END;
INSERT INTO "org_contoso"."mailbox" ("allowemailconnectortousecredentials", "emailrouteraccessapproval", "enabledforact", "enabledforincomingemail", "enabledforoutgoingemail", "isactsyncorgflagset", "isemailaddressapprovedbyo365admin", "mailboxid", "name", "officeappsdeploymentscheduled", "orgmarkedasprimaryforexchangesync", "ownerid", "owneridname", "owneridtype", "postponemailboxprocessinguntil", "postponesendinguntil", "processanddeleteemails", "statecode", "statuscode", "testemailconfigurationretrycount", "testemailconfigurationscheduled", "verboseloggingenabled", "createdby", "createdbyname", "createdon", "forcedunlockcount", "isexchangecontactsimportscheduled", "isforwardmailbox", "ispasswordset", "isserviceaccount", "lastactiveon", "modifiedby", "modifiedbyname", "modifiedon", "organizationid", "organizationidname", "owningbusinessunit", "owningbusinessunitname", "owninguser", "processingstatecode", "transientfailurecount")
VALUES ('f', 0, 't', 't', 't', 'f', 'f', (lpad(to_hex(:high::bigint), 16, '0') || lpad(to_hex(:low::bigint), 16, '0'))::uuid, 'bench', 'f', 'f', '01a20cae-4075-7f17-a9dc-aed073fd4358', (SELECT "fullname" FROM "org_contoso"."systemuser" WHERE "systemuserid" = '01a20cae-4075-7f17-a9dc-aed073fd4358'), 'systemuser', now(), now(), 'f', 0, 1, 0, 'f', 0, '01a20cae-4075-7f17-a9dc-aed073fd4358', (SELECT "fullname" FROM "org_contoso"."systemuser" WHERE "systemuserid" = '01a20cae-4075-7f17-a9dc-aed073fd4358'), now(), 0, 'f', 't', 't', 'f', now(), '01a20cae-4075-7f17-a9dc-aed073fd4358', (SELECT "fullname" FROM "org_contoso"."systemuser" WHERE "systemuserid" = '01a20cae-4075-7f17-a9dc-aed073fd4358'), now(), 'a745afcc-4f1a-446c-83c8-c50523d87ca5', (SELECT "name" FROM "org_contoso"."organization" WHERE "organizationid" = 'a745afcc-4f1a-446c-83c8-c50523d87ca5'), '01a20cae-3fef-7dd8-a3e0-fb6625d02727', (SELECT "name" FROM "org_contoso"."businessunit" WHERE "businessunitid" = '01a20cae-3fef-7dd8-a3e0-fb6625d02727'), '01a20cae-4075-7f17-a9dc-aed073fd4358', 0, 0) RETURNING versionnumber;
INSERT INTO "org_contoso"."mailbox_cell" (key_version, "mailboxid", "password")
VALUES (1, (lpad(to_hex(:high::bigint), 16, '0') || lpad(to_hex(:low::bigint), 16, '0'))::uuid, '\x01000000018f38baad0ca600917f5ea90f480d85e074fef03697c6347330781f47650c6d38b7b6e2d6d97cc35ebba1727d85ce74b9e05648a29354982afdec10894990384100112233445566778899aabbccddeeff00112233445566778899aabbccddeeff');
\endpipeline
