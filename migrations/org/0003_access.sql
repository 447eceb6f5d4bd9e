-- Who may reach a record besides its owner: members of a team that owns it, and those with whom it was shared.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE teammembership (
    teamid uuid NOT NULL REFERENCES team ON DELETE CASCADE,
    systemuserid uuid NOT NULL REFERENCES systemuser ON DELETE CASCADE,
    PRIMARY KEY (teamid, systemuserid)
);
CREATE INDEX ON teammembership (systemuserid);
COMMENT ON TABLE teammembership IS 'Which users belong to which teams.';

CREATE TABLE principal_access (
    record_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    entity text NOT NULL CHECK (entity IN ('emailserverprofile', 'mailbox', 'queue')),
    principal_entity text NOT NULL CHECK (principal_entity IN ('systemuser', 'team')),
    rights integer NOT NULL CHECK (rights <> 0),
    PRIMARY KEY (record_id, principal_id)
);
CREATE INDEX ON principal_access (principal_id);
COMMENT ON TABLE principal_access IS 'Records that were shared, and what may be done with them: 1 read, 2 write, 65536 delete, 262144 share, 524288 assign.';

CREATE FUNCTION forget_access() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DELETE FROM %I.principal_access WHERE record_id = ($1).%I', TG_TABLE_SCHEMA, TG_ARGV[0]) USING OLD;
    RETURN NULL;
END $$;
CREATE TRIGGER forgets_access AFTER DELETE ON emailserverprofile
    FOR EACH ROW EXECUTE FUNCTION forget_access('emailserverprofileid');
CREATE TRIGGER forgets_access AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_access('mailboxid');
CREATE TRIGGER forgets_access AFTER DELETE ON queue FOR EACH ROW EXECUTE FUNCTION forget_access('queueid');

-- Records are found by their names, and listed by their profile, regardless of case.
CREATE INDEX ON emailserverprofile (lower(name));
CREATE INDEX ON mailbox (lower(name));
CREATE INDEX ON mailbox (lower(emailaddress));
CREATE INDEX ON mailbox (emailserverprofile);
CREATE INDEX ON queue (lower(name));
CREATE INDEX ON systemuser (lower(domainname));

REVOKE ALL ON FUNCTION forget_access() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_access() TO fieldseal_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON teammembership, principal_access TO fieldseal_service;
GRANT SELECT ON teammembership, principal_access TO fieldseal_inspector;
