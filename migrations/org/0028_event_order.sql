-- All who can connect to the database can take an advisory lock, and with one they could stop every security event. The order of the
-- events needs none. The service locks the organization's attested state before it appends an event. Of two other events that come at
-- the same time, the primary key refuses one.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE OR REPLACE FUNCTION chain_security_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    newest record;
BEGIN
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
