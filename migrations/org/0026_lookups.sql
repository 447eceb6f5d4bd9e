-- A key change and a security event read of the catalog only what is the organization's own: there may be ten thousand others.
-- Runs with the organization's schema as search_path; no schema is named here.

-- Its tables are found by their names, not among the triggers of all schemas. ALTER FUNCTION would read the functions of that name in
-- all schemas, so the setting that the event triggers let through is part of the statement.
DO $do$
BEGIN
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION end_change() RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '20ms' %s AS $$
DECLARE
    t record;
    leaf regclass;
BEGIN
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        leaf := to_regclass(quote_ident(t.entity || '_cell_k' || (SELECT e.key_version FROM encryption AS e)));
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_trigger AS tg WHERE tg.tgrelid = leaf AND tg.tgname = 'notes_change' AND tg.tgenabled <> 'D');
        -- Disabled and not dropped: dropping would wait for every reader, and make everybody wait behind it.
        EXECUTE 'ALTER TABLE ' || leaf || ' DISABLE TRIGGER notes_change';
        EXECUTE 'ALTER TABLE ' || leaf || ' RESET (autovacuum_enabled)';
    END LOOP;
    DELETE FROM cell_change;
END
$$
    $sql$, CASE WHEN has_parameter_privilege('fieldseal.maintenance', 'SET') THEN 'SET fieldseal.maintenance = ''on''' END);
END
$do$;

-- The hash is computed here. PostgreSQL looks security_event_hash up among the functions of that name in all schemas, and keeps them
-- all in the memory of each process that calls it.
CREATE OR REPLACE FUNCTION chain_security_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    newest record;
BEGIN
    -- One at a time, until it is committed: the order of the numbers is the order of the chain.
    PERFORM pg_advisory_xact_lock((1179862358::bigint << 32) + TG_RELID::bigint);
    SELECT e.security_event_id, e.hash INTO newest FROM security_event AS e ORDER BY e.security_event_id DESC LIMIT 1;
    NEW.security_event_id := coalesce(newest.security_event_id, 0) + 1;
    NEW.previous_hash := newest.hash;
    -- As security_event_hash(NEW).
    NEW.hash := sha256(coalesce(NEW.previous_hash, ''::bytea) || convert_to(jsonb_build_array(
        NEW.security_event_id, (extract(epoch FROM NEW.occurred_on) * 1000000)::bigint, NEW.kind, NEW.outcome, NEW.actor,
        NEW.address, NEW.request_id, NEW.key_version, NEW.fingerprint, NEW.details)::text, 'UTF8'));
    RETURN NEW;
END
$$;
