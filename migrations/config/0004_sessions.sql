-- Sessions of the Web API: their check, which runs in the transaction of a request's own statements.

CREATE FUNCTION config.refuse_session() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the session is stale' USING ERRCODE = 'FS010', HINT = 'Begin it again: the client or the key changed.';
END $$;
COMMENT ON FUNCTION config.refuse_session() IS 'Ends a transaction of a session whose client or key changed since it began.';
REVOKE ALL ON FUNCTION config.refuse_session() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION config.refuse_session() TO fieldseal_service;
