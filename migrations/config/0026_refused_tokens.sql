-- Access tokens are refused by a function alone, so that no earlier row can shorten a refusal.

CREATE FUNCTION config.refuse_token(hash bytea, until timestamptz, revoked boolean) RETURNS boolean
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH refused AS (
        INSERT INTO config.exposed_token AS t (token_hash, expires_on, is_revoked) VALUES (hash, until, revoked)
        ON CONFLICT (token_hash) DO UPDATE
           SET expires_on = greatest(t.expires_on, excluded.expires_on), is_revoked = t.is_revoked OR excluded.is_revoked
         WHERE t.expires_on < excluded.expires_on OR t.is_revoked < excluded.is_revoked
        RETURNING 1)
    SELECT EXISTS (SELECT FROM refused)
$$;
COMMENT ON FUNCTION config.refuse_token(bytea, timestamptz, boolean) IS
    'Refuses an access token until a time. A refusal is never shortened. Returns whether it is new or longer.';
REVOKE ALL ON FUNCTION config.refuse_token(bytea, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION config.refuse_token(bytea, timestamptz, boolean) TO fieldseal_service;

REVOKE INSERT ON config.exposed_token FROM fieldseal_service;
