DO $do$
BEGIN
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION end_change() RETURNS void
            LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '20ms' %s AS $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN
        SELECT tg.tgrelid FROM pg_trigger AS tg JOIN pg_class AS c ON c.oid = tg.tgrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND tg.tgname = 'notes_change' AND tg.tgenabled <> 'D'
           AND c.relname LIKE '%%\_k' || (SELECT e.key_version FROM encryption AS e)
    LOOP
        -- Disabled and not dropped: dropping would wait for every reader, and make everybody wait behind it.
        EXECUTE format('ALTER TABLE %%s DISABLE TRIGGER notes_change', leaf);
        EXECUTE format('ALTER TABLE %%s RESET (autovacuum_enabled)', leaf);
    END LOOP;
    DELETE FROM cell_change;
END
$$
    $sql$, CASE WHEN has_parameter_privilege('fieldseal.maintenance', 'SET') THEN 'SET fieldseal.maintenance = ''on''' END);
END
$do$;

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
    NEW.hash := security_event_hash(NEW);
    RETURN NEW;
END
$$;
