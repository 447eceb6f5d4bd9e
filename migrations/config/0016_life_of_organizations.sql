-- Organizations that are suspended or being removed. Whether the service answers is decided by the attested list, not by these
-- columns: setting them back with SQL changes nothing.

ALTER TABLE config.organization
    ADD COLUMN suspended_on timestamptz,
    ADD COLUMN suspended_by text,
    ADD COLUMN removal_begun_on timestamptz,
    ADD CONSTRAINT organization_suspension CHECK ((suspended_on IS NULL) = (suspended_by IS NULL)),
    ADD CONSTRAINT organization_removal CHECK (removal_begun_on IS NULL OR suspended_on IS NOT NULL);
COMMENT ON COLUMN config.organization.suspended_on IS 'Since when the service refuses the organization: fieldseal org suspend, org resume.';
COMMENT ON COLUMN config.organization.removal_begun_on IS 'When fieldseal org remove began; its current key can be deleted from then on.';

CREATE OR REPLACE FUNCTION config.keep_organization_key() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'organization keys cannot be truncated' USING ERRCODE = 'FS006',
            HINT = 'Without its key no cell of an organization can be opened. Purge retired versions one by one.';
    ELSIF TG_OP = 'DELETE' THEN
        IF OLD.retired_on IS NULL AND NOT EXISTS (
            SELECT FROM config.organization AS o
             WHERE o.organization_id = OLD.organization_id AND o.removal_begun_on IS NOT NULL) THEN
            RAISE EXCEPTION 'the current key of organization % cannot be deleted', OLD.organization_id USING ERRCODE = 'FS006',
                HINT = 'Encryption cannot be turned off. Change the key, which retires the old version; or remove the whole organization: fieldseal org remove.';
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
