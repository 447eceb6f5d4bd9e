-- What a DBA sees with psql and nothing else. SQL has no key-encryption key: here, "active" means that config has a key of
-- the version and fingerprint that the organization's own schema names.

CREATE FUNCTION config.organization_encryption()
    RETURNS TABLE (organization_id uuid, key_version integer, fingerprint text, changed_on timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    organization record;
BEGIN
    FOR organization IN SELECT o.schema_name FROM config.organization AS o ORDER BY o.name LOOP
        -- A schema that is gone, or that a migration has not reached, is left out: its organization shows NULLs.
        CONTINUE WHEN to_regclass(format('%I.encryption', organization.schema_name)) IS NULL;
        RETURN QUERY EXECUTE format(
            'SELECT e.organization_id, e.key_version, e.fingerprint, e.changed_on FROM %I.encryption AS e',
            organization.schema_name);
    END LOOP;
END
$$;
COMMENT ON FUNCTION config.organization_encryption() IS 'Each organization''s row of its table "encryption".';
REVOKE ALL ON FUNCTION config.organization_encryption() FROM PUBLIC;

CREATE VIEW config.encryption_status AS
SELECT o.name AS organization,
       CASE WHEN k.key_version IS NOT NULL THEN 'active' ELSE 'key required' END AS state,
       e.key_version,
       e.fingerprint,
       e.changed_on AS key_set_on,
       now() - e.changed_on AS key_age,
       k.origin,
       k.copied_on,
       e.changed_on + interval '1 year' AS next_change_due,
       k.duration AS last_change_duration,
       k.cells AS last_change_cells
  FROM config.organization AS o
  LEFT JOIN config.organization_encryption() AS e USING (organization_id)
  LEFT JOIN config.organization_key AS k
         ON k.organization_id = o.organization_id AND k.key_version = e.key_version AND k.fingerprint = e.fingerprint;
COMMENT ON VIEW config.encryption_status IS 'One row per organization: is it active, under which key, and how old is that.';

CREATE VIEW config.key_history AS
SELECT o.name AS organization, k.key_version, k.fingerprint, k.origin, k.created_on, k.created_by, k.created_from,
       k.retired_on, k.duration, k.cells, k.pause, k.purged_on, k.rotation_id
  FROM config.organization_key AS k JOIN config.organization AS o USING (organization_id);
COMMENT ON VIEW config.key_history IS 'Every key version that config remembers: who, when, how long it took. No key bytes.';

CREATE VIEW config.key_change_progress AS
SELECT o.name AS organization, c.phase, c.cells, c.total, round(100.0 * c.cells / nullif(c.total, 0))::integer AS percent,
       now() - c.started_on AS running_for, c.started_by, c.backend,
       EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend AND a.datname = current_database()) AS is_alive
  FROM config.key_change AS c JOIN config.organization AS o USING (organization_id);
COMMENT ON VIEW config.key_change_progress IS 'Key changes under way. SELECT pg_cancel_backend(backend) stops one; the old key stays.';

GRANT SELECT ON config.encryption_status, config.key_history, config.key_change_progress TO fieldseal_inspector, fieldseal_service;
GRANT EXECUTE ON FUNCTION config.organization_encryption() TO fieldseal_inspector, fieldseal_service;
