-- Organizations that are being moved to another database of the deployment. In the database that an organization leaves, a row says that
-- it has left: that row decides which of the two places is in force. In the database where it arrives, a row says that it is not there yet.
-- Its schema has another name meanwhile, in which no program looks for it.

CREATE TABLE config.organization_move (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    move_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('arriving', 'moved')),
    other_database text NOT NULL,
    moved_on timestamptz NOT NULL DEFAULT now(),
    moved_by text NOT NULL
);
COMMENT ON TABLE config.organization_move IS
    'Moves of organizations that have not ended. fieldseal org move ends or undoes them; fieldseal doctor names those that were interrupted.';
COMMENT ON COLUMN config.organization_move.state IS 'arriving: not in force here; the schema is arriving_NAME. moved: not in force here any more; the schema is moved_NAME.';
COMMENT ON COLUMN config.organization_move.other_database IS 'The other place, under its name in the settings.';
-- Only the migration role moves.
GRANT SELECT ON config.organization_move TO fieldseal_service, fieldseal_inspector;
CREATE TRIGGER notify_organizations AFTER INSERT OR DELETE OR UPDATE ON config.organization_move
    FOR EACH STATEMENT EXECUTE FUNCTION config.notify_organizations();
