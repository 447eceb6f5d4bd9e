-- What servers do regularly looks at organizations in which something happened, and at no others: its cost does not grow with
-- organizations that sleep.

CREATE TABLE config.sweep (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    keep_until timestamptz NOT NULL DEFAULT now(),
    swept_on timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 70);
COMMENT ON TABLE config.sweep IS
    'Organizations that servers look at regularly: passwords or the key were written there lately, or a key change left something behind.';
COMMENT ON COLUMN config.sweep.keep_until IS 'Until then a server may write there without a new row; afterwards the row goes when nothing is left.';
COMMENT ON COLUMN config.sweep.swept_on IS 'When a server last took it upon itself to look.';
CREATE INDEX ON config.sweep (swept_on);
GRANT SELECT, INSERT, UPDATE, DELETE ON config.sweep TO fieldseal_service;
GRANT SELECT ON config.sweep TO fieldseal_inspector;
-- What was left behind before this table was there: each organization is looked at once.
INSERT INTO config.sweep (organization_id) SELECT organization_id FROM config.organization;

-- Which transaction last changed what is attested, so that servers read what changed since their last look.
ALTER TABLE config.attested_state ADD COLUMN changed_in xid8 NOT NULL DEFAULT pg_current_xact_id();
COMMENT ON COLUMN config.attested_state.changed_in IS 'The transaction that wrote the row last. It grants nothing, and the tag does not cover it.';
CREATE INDEX ON config.attested_state (changed_in);
CREATE FUNCTION config.note_attested_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.changed_in := pg_current_xact_id();
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION config.note_attested_change() FROM PUBLIC;
COMMENT ON FUNCTION config.note_attested_change() IS 'Trigger: notes the transaction, so that each server reads the row again.';
CREATE TRIGGER note_change BEFORE INSERT OR UPDATE ON config.attested_state
    FOR EACH ROW EXECUTE FUNCTION config.note_attested_change();
