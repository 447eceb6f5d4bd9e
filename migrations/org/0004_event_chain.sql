-- Security events as a chain: each carries a hash over itself and the one before it, so that what was changed, taken out or
-- put in between shows. A tail that was cut off does not show here.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE security_event ADD COLUMN previous_hash bytea, ADD COLUMN hash bytea;

CREATE FUNCTION security_event_hash(event security_event) RETURNS bytea
    LANGUAGE sql IMMUTABLE SET search_path FROM CURRENT AS $$
    SELECT sha256(coalesce(event.previous_hash, ''::bytea) || convert_to(jsonb_build_array(
        event.security_event_id, (extract(epoch FROM event.occurred_on) * 1000000)::bigint, event.kind, event.outcome, event.actor,
        event.address, event.request_id, event.key_version, event.fingerprint, event.details)::text, 'UTF8'))
$$;
COMMENT ON FUNCTION security_event_hash(security_event) IS
    'SHA-256 over the hash of the event before and the event''s own values, as a JSON array in the order of its columns.';

CREATE FUNCTION chain_security_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- One at a time, until it is committed: the order of the ids is the order of the chain.
    PERFORM pg_advisory_xact_lock((1179862358::bigint << 32) + TG_RELID::bigint);
    NEW.security_event_id := nextval(pg_get_serial_sequence('security_event', 'security_event_id'));
    NEW.previous_hash := (SELECT e.hash FROM security_event AS e ORDER BY e.security_event_id DESC LIMIT 1);
    NEW.hash := security_event_hash(NEW);
    RETURN NEW;
END
$$;

-- Events that were there already become the chain's beginning.
ALTER TABLE security_event DISABLE TRIGGER keep;
DO $$
DECLARE
    event security_event;
    previous bytea;
BEGIN
    FOR event IN SELECT * FROM security_event ORDER BY security_event_id LOOP
        event.previous_hash := previous;
        previous := security_event_hash(event);
        UPDATE security_event SET previous_hash = event.previous_hash, hash = previous
         WHERE security_event_id = event.security_event_id;
    END LOOP;
END
$$;
ALTER TABLE security_event ENABLE TRIGGER keep;
ALTER TABLE security_event ALTER hash SET NOT NULL;
CREATE TRIGGER chain BEFORE INSERT ON security_event FOR EACH ROW EXECUTE FUNCTION chain_security_event();

CREATE FUNCTION verify_security_events() RETURNS TABLE (security_event_id bigint, problem text)
    LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    event security_event;
    previous bytea;
BEGIN
    FOR event IN SELECT * FROM security_event AS e ORDER BY e.security_event_id LOOP
        security_event_id := event.security_event_id;
        IF event.previous_hash IS DISTINCT FROM previous THEN
            problem := 'an event before this one was taken out, put in or moved';
            RETURN NEXT;
        END IF;
        IF event.hash <> security_event_hash(event) THEN
            problem := 'this event was changed';
            RETURN NEXT;
        END IF;
        previous := event.hash;
    END LOOP;
END
$$;
COMMENT ON FUNCTION verify_security_events() IS 'Where the chain of security events is broken; no row when it is whole.';

REVOKE ALL ON FUNCTION security_event_hash(security_event), chain_security_event(), verify_security_events() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION security_event_hash(security_event), chain_security_event(), verify_security_events() TO fieldseal_service;
GRANT EXECUTE ON FUNCTION security_event_hash(security_event), verify_security_events() TO fieldseal_inspector;
