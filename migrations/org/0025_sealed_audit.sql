-- Entries of the audit are sealed in blocks, whose digests the chain of security events has: what was changed, taken out or put in shows.
-- Runs with the organization's schema as search_path. No schema is named here but config, and only where it is.

ALTER TABLE audit ADD COLUMN block bigint;
COMMENT ON COLUMN audit.block IS 'The block of audit_block that seals the entry; NULL for a new one. Set once.';
CREATE INDEX ON audit (block, createdon);

CREATE TABLE audit_block (
    number bigint PRIMARY KEY CHECK (number > 0),
    sealed_on timestamptz NOT NULL,
    entries integer NOT NULL CHECK (entries > 0),
    members bytea NOT NULL CHECK (octet_length(members) = entries * 48),
    snapshot text,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32)
);
ALTER TABLE audit_block ALTER members SET STORAGE EXTERNAL;
COMMENT ON TABLE audit_block IS 'The blocks in which servers seal entries of the audit about once a minute. Security events record their digests.';
COMMENT ON COLUMN audit_block.members IS 'For each entry the 16 bytes of its auditid and the SHA-256 of its columns, sorted.';
COMMENT ON COLUMN audit_block.snapshot IS
    'The cluster, and the transactions that had ended: all of their entries were sealed by then. NULL where more entries waited.';
COMMENT ON COLUMN audit_block.digest IS
    'SHA-256 over the digest of the block before, the JSON array of number, microseconds of sealed_on and snapshot, and the members.';

-- An entry gets its block once, unless an administrator has the audit sealed anew. What is sealed is removed in whole blocks: an earlier
-- program, which knows none, is refused.
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the audit can be read, nothing else' USING ERRCODE = 'FS013',
        HINT = 'It is evidence. To move old entries to a file: fieldseal events archive --audit.';
END
$$;
DROP TRIGGER keep ON audit;
CREATE TRIGGER keep BEFORE UPDATE ON audit FOR EACH ROW WHEN (
    NOT (OLD.block IS NULL AND NEW.block IS NOT NULL
         OR NEW.block IS NULL AND current_setting('fieldseal.evidence', true) IS NOT DISTINCT FROM 'move blocks')
    OR (OLD.auditid, OLD.createdon, OLD.action, OLD.operation, OLD.objectid, OLD.objecttypecode, OLD.userid, OLD.useridname, OLD.attributemask,
        OLD.changedata, OLD.transactionid, OLD.databaserole, OLD.versionnumber, OLD.callinguserid)
    IS DISTINCT FROM
       (NEW.auditid, NEW.createdon, NEW.action, NEW.operation, NEW.objectid, NEW.objecttypecode, NEW.userid, NEW.useridname, NEW.attributemask,
        NEW.changedata, NEW.transactionid, NEW.databaserole, NEW.versionnumber, NEW.callinguserid)
) EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER keep_deleted BEFORE DELETE ON audit FOR EACH ROW WHEN (
    current_setting('fieldseal.evidence', true) IS DISTINCT FROM CASE WHEN OLD.block IS NULL THEN 'move' ELSE 'move blocks' END
) EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER keep BEFORE UPDATE ON audit_block FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER keep_deleted BEFORE DELETE ON audit_block
    FOR EACH ROW WHEN (current_setting('fieldseal.evidence', true) IS DISTINCT FROM 'move blocks') EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit_block FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- Servers seal the audit of organizations that are noted, so that they visit no others. A note serves for half an hour.
CREATE FUNCTION note_audit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF to_regclass('config.unsealed_audit') IS NULL THEN
        RETURN NULL;
    END IF;
    -- Once in a transaction is enough.
    PERFORM set_config('fieldseal.audit_noted', pg_current_xact_id()::text, true);
    INSERT INTO config.unsealed_audit (organization_id)
    SELECT e.organization_id FROM encryption AS e
     WHERE NOT EXISTS (SELECT FROM config.unsealed_audit AS u
         WHERE u.organization_id = e.organization_id AND u.noted_on > clock_timestamp() - interval '30 minutes');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION note_audit() IS 'Trigger: notes in config that the audit has new entries, so that a server seals them.';
CREATE TRIGGER notes AFTER INSERT ON audit FOR EACH STATEMENT
    WHEN (current_setting('fieldseal.audit_noted', true) IS DISTINCT FROM pg_current_xact_id()::text) EXECUTE FUNCTION note_audit();

REVOKE ALL ON FUNCTION note_audit() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION note_audit() TO fieldseal_service;
GRANT SELECT ON audit_block TO fieldseal_service, fieldseal_inspector;
GRANT INSERT ON audit_block TO fieldseal_service;
GRANT UPDATE (block) ON audit TO fieldseal_service;
