-- Lost: what shows that sealed entries of the audit were changed. A security event says so. The entries themselves are not lost.
-- Runs with the organization's schema as search_path; no schema is named here.

DO $$
BEGIN
    IF EXISTS (SELECT FROM audit_block) THEN
        RAISE EXCEPTION 'entries of the audit are sealed' USING ERRCODE = 'FS013',
            HINT = 'fieldseal migrate down records that their blocks are given up. Stop the servers first, and run it again.';
    END IF;
END
$$;
DROP TRIGGER notes ON audit;
DROP FUNCTION note_audit();
DROP TABLE audit_block;
DROP TRIGGER keep ON audit;
DROP TRIGGER keep_deleted ON audit;
CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('fieldseal.evidence', true) = 'move' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit can be read, nothing else' USING ERRCODE = 'FS013',
        HINT = 'It is evidence. To move old entries to a file: fieldseal events archive --audit.';
END
$$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit DROP COLUMN block;
