-- Roles of users and teams as records, beside the role that a client or a person was added with. A row gives its role only while
-- the attested state lists it.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE systemuserroles (
    systemuserroleid uuid NOT NULL GENERATED ALWAYS AS (md5(systemuserid::text || ' ' || roleid::text)::uuid) STORED,
    systemuserid uuid NOT NULL REFERENCES systemuser ON DELETE CASCADE,
    roleid uuid NOT NULL REFERENCES role ON DELETE CASCADE,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number'),
    PRIMARY KEY (systemuserid, roleid)
);
CREATE INDEX ON systemuserroles (roleid);
COMMENT ON TABLE systemuserroles IS 'Roles that were given to users, beside the role of the client or the person that acts as the user.';

CREATE TABLE teamroles (
    teamroleid uuid NOT NULL GENERATED ALWAYS AS (md5(teamid::text || ' ' || roleid::text)::uuid) STORED,
    teamid uuid NOT NULL REFERENCES team ON DELETE CASCADE,
    roleid uuid NOT NULL REFERENCES role ON DELETE CASCADE,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number'),
    PRIMARY KEY (teamid, roleid)
);
CREATE INDEX ON teamroles (roleid);
COMMENT ON TABLE teamroles IS 'Roles that were given to teams, and that their members have.';

ALTER TABLE teammembership
    ADD COLUMN teammembershipid uuid NOT NULL GENERATED ALWAYS AS (md5(teamid::text || ' ' || systemuserid::text)::uuid) STORED,
    ADD COLUMN versionnumber bigint NOT NULL DEFAULT nextval('version_number');

GRANT SELECT, INSERT, DELETE ON systemuserroles, teamroles TO fieldseal_service;
GRANT SELECT ON systemuserroles, teamroles TO fieldseal_inspector;

-- Users, teams and roles know how to be linked, and the links are entities too.
CREATE OR REPLACE VIEW sdkmessagefilter AS
    SELECT md5(concat('sdkmessagefilter ', entity, ' ', name))::uuid AS sdkmessagefilterid, concat(name, ' ', entity) AS name,
           md5(concat('sdkmessage ', name))::uuid AS sdkmessageid, name AS sdkmessageidname, entity AS primaryobjecttypecode,
           NULL::text AS secondaryobjecttypecode, false AS iscustomprocessingstepallowed, true AS isvisible, 1::bigint AS versionnumber
      FROM (VALUES
           ('emailserverprofile', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'),
           ('mailbox', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'),
           ('queue', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'),
           ('usersettings', 'Retrieve RetrieveMultiple Update UpdateMultiple'),
           ('systemuser', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Upsert UpsertMultiple RetrieveUserPrivileges RetrieveUserPrivilegeByPrivilegeId RetrieveUserPrivilegeByPrivilegeName RetrieveUserSetOfPrivilegesByNames Associate Disassociate'),
           ('team', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple AddMembersTeam RemoveMembersTeam Associate Disassociate'),
           ('businessunit', 'Retrieve RetrieveMultiple'),
           ('organization', 'Retrieve RetrieveMultiple Update UpdateMultiple'),
           ('transactioncurrency', 'Retrieve RetrieveMultiple'),
           ('role', 'Retrieve RetrieveMultiple Associate Disassociate'),
           ('audit', 'Retrieve RetrieveMultiple'),
           ('email', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess SendEmail CheckIncomingEmail DeliverIncomingEmail'),
           ('activityparty', 'Retrieve RetrieveMultiple'),
           ('activitymimeattachment', 'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple'),
           ('tracelog', 'Create CreateMultiple Retrieve RetrieveMultiple Delete'),
           ('sdkmessage', 'Retrieve RetrieveMultiple'),
           ('sdkmessagefilter', 'Retrieve RetrieveMultiple'),
           ('systemuserroles', 'Retrieve RetrieveMultiple'),
           ('teamroles', 'Retrieve RetrieveMultiple'),
           ('teammembership', 'Retrieve RetrieveMultiple')
           ) AS known (entity, names), string_to_table(names, ' ') AS name;
