-- Columns of reference tables that clients of Dataverse read, and the messages that each entity knows, as records.

-- What follows from other columns is computed by PostgreSQL. A client's user is called "# name", as application users are.
ALTER TABLE systemuser
    ADD COLUMN firstname text GENERATED ALWAYS AS (CASE WHEN fullname ~ '\S\s+\S' THEN regexp_replace(fullname, '\s+\S+\s*$', '') END) STORED,
    ADD COLUMN lastname text GENERATED ALWAYS AS (substring(fullname FROM '(\S+)\s*$')) STORED,
    ADD COLUMN accessmode integer GENERATED ALWAYS AS (CASE WHEN starts_with(domainname, 'client\') THEN 4 ELSE 0 END) STORED,
    ADD COLUMN isintegrationuser boolean GENERATED ALWAYS AS (starts_with(domainname, 'client\')) STORED,
    ADD COLUMN applicationid uuid,
    ADD COLUMN title text,
    ADD COLUMN jobtitle text,
    ADD COLUMN mobilephone text,
    ADD COLUMN address1_telephone1 text;
COMMENT ON COLUMN systemuser.applicationid IS 'The id of the API client that acts as this user; NULL for a person.';
CREATE INDEX ON systemuser (applicationid) WHERE applicationid IS NOT NULL;

ALTER TABLE team
    ADD COLUMN teamtype integer NOT NULL DEFAULT 0,
    ADD COLUMN isdefault boolean NOT NULL DEFAULT false,
    ADD COLUMN description text,
    ADD COLUMN emailaddress text,
    ADD COLUMN administratorid uuid;

ALTER TABLE businessunit
    ADD COLUMN isdisabled boolean NOT NULL DEFAULT false,
    ADD COLUMN description text,
    ADD COLUMN emailaddress text;

ALTER TABLE organization
    ADD COLUMN languagecode integer NOT NULL DEFAULT 1033,
    ADD COLUMN localeid integer NOT NULL DEFAULT 1033;

ALTER TABLE transactioncurrency
    ADD COLUMN currencyprecision integer NOT NULL DEFAULT 2,
    ADD COLUMN statecode integer NOT NULL DEFAULT 0,
    ADD COLUMN statuscode integer NOT NULL DEFAULT 1;

ALTER TABLE role
    ADD COLUMN ismanaged boolean NOT NULL DEFAULT true,
    ADD COLUMN parentrootroleid uuid GENERATED ALWAYS AS (roleid) STORED,
    -- By which tools know the System Administrator, whatever the role is called.
    ADD COLUMN roletemplateid uuid GENERATED ALWAYS AS
        (CASE WHEN name = 'System Administrator' THEN '627090ff-40a3-4053-8790-584edc5be201'::uuid END) STORED;

CREATE VIEW sdkmessagefilter AS
    SELECT md5(concat('sdkmessagefilter ', entity, ' ', name))::uuid AS sdkmessagefilterid, concat(name, ' ', entity) AS name,
           md5(concat('sdkmessage ', name))::uuid AS sdkmessageid, name AS sdkmessageidname, entity AS primaryobjecttypecode,
           NULL::text AS secondaryobjecttypecode, false AS iscustomprocessingstepallowed, true AS isvisible, 1::bigint AS versionnumber
      FROM (VALUES
           ('emailserverprofile', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'),
           ('mailbox', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'),
           ('queue', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'),
           ('usersettings', 'Retrieve RetrieveMultiple Update UpdateMultiple'),
           ('systemuser', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Upsert UpsertMultiple RetrieveUserPrivileges RetrieveUserPrivilegeByPrivilegeId RetrieveUserPrivilegeByPrivilegeName RetrieveUserSetOfPrivilegesByNames'),
           ('team', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple AddMembersTeam RemoveMembersTeam'),
           ('businessunit', 'Retrieve RetrieveMultiple'),
           ('organization', 'Retrieve RetrieveMultiple Update UpdateMultiple'),
           ('transactioncurrency', 'Retrieve RetrieveMultiple'),
           ('role', 'Retrieve RetrieveMultiple'),
           ('audit', 'Retrieve RetrieveMultiple'),
           ('email', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess SendEmail CheckIncomingEmail DeliverIncomingEmail'),
           ('activityparty', 'Retrieve RetrieveMultiple'),
           ('activitymimeattachment', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple'),
           ('tracelog', 'Create CreateMultiple Retrieve RetrieveMultiple Delete'),
           ('sdkmessage', 'Retrieve RetrieveMultiple'),
           ('sdkmessagefilter', 'Retrieve RetrieveMultiple')
           ) AS known (entity, names), string_to_table(names, ' ') AS name;
COMMENT ON VIEW sdkmessagefilter IS 'Which entity knows which messages, for clients that ask before they send one.';

CREATE VIEW sdkmessage AS
    SELECT DISTINCT f.sdkmessageid, f.sdkmessageidname AS name, true AS isactive, false AS isprivate, 1::bigint AS versionnumber
      FROM (SELECT sdkmessageid, sdkmessageidname FROM sdkmessagefilter
            UNION ALL
            SELECT md5(concat('sdkmessage ', name))::uuid, name FROM string_to_table(
                'WhoAmI IsDataEncryptionActive RetrieveDataEncryptionKey SetDataEncryptionKey RetrieveVersion RetrieveCurrentOrganization '
                || 'RetrieveTotalRecordCount RetrieveAvailableLanguages RetrieveProvisionedLanguages RetrieveDeprovisionedLanguages '
                || 'RetrieveInstalledLanguagePacks RetrieveMetadataChanges BulkDelete', ' ') AS name) AS f;
COMMENT ON VIEW sdkmessage IS 'The messages that the Web API knows.';

GRANT SELECT ON sdkmessagefilter, sdkmessage TO fieldseal_service, fieldseal_inspector;
