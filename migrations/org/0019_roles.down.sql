-- Lost: the roles that were given to users and teams. Clients and people keep the role that they were added with.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE OR REPLACE VIEW sdkmessagefilter AS
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
ALTER TABLE teammembership DROP COLUMN teammembershipid, DROP COLUMN versionnumber;
DROP TABLE systemuserroles, teamroles;
