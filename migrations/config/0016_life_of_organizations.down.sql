-- Lost: when organizations were suspended, as SQL shows it. An older program does not know suspensions and would serve those
-- organizations, so this is refused while there are any.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.organization WHERE suspended_on IS NOT NULL) THEN
        RAISE EXCEPTION 'an organization is suspended' USING ERRCODE = 'FS006',
            HINT = 'An older program would serve it. Resume it, or finish its removal: fieldseal org resume, fieldseal org remove.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION config.keep_organization_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'organization keys cannot be truncated' USING ERRCODE = 'FS006',
            HINT = 'Without its key no cell of an organization can be opened. Purge retired versions one by one.';
    ELSIF TG_OP = 'DELETE' THEN
        IF OLD.retired_on IS NULL THEN
            RAISE EXCEPTION 'the current key of organization % cannot be deleted', OLD.organization_id USING ERRCODE = 'FS006',
                HINT = 'Encryption cannot be turned off. Change the key; the old version is retired by that.';
        END IF;
        RETURN OLD;
    ELSIF (OLD.organization_id, OLD.key_version, OLD.fingerprint)
            IS DISTINCT FROM (NEW.organization_id, NEW.key_version, NEW.fingerprint)
        OR (OLD.wrapped_text, OLD.wrapped_data) IS DISTINCT FROM (NEW.wrapped_text, NEW.wrapped_data)
            AND current_setting('fieldseal.rewrap', true) IS DISTINCT FROM 'on'
            AND (OLD.retired_on IS NULL OR NEW.purged_on IS NULL) THEN
        RAISE EXCEPTION 'a wrapped key of organization % cannot be updated', OLD.organization_id USING ERRCODE = 'FS006',
            HINT = 'A key is changed with SetDataEncryptionKey or `fieldseal key change`, which re-encrypt every cell.';
    END IF;
    RETURN NEW;
END
$$;

ALTER TABLE config.organization
    DROP CONSTRAINT organization_removal, DROP CONSTRAINT organization_suspension,
    DROP COLUMN removal_begun_on, DROP COLUMN suspended_by, DROP COLUMN suspended_on;
