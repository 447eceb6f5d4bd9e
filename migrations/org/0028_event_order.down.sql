-- Lost: nothing.
-- Runs with the organization's schema as search_path; no schema is named here.

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
