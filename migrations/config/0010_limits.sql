-- What servers share in order to keep limits: tokens that were sent without encryption, and who exchanges a mail password.

CREATE INDEX failed_sign_in_last_on ON config.failed_sign_in (last_on);
COMMENT ON TABLE config.failed_sign_in IS
    'Failed sign-ins and activations of the last 15 minutes: of an account from a network, and with * for all networks or all accounts. Rows without effect are deleted.';

CREATE TABLE config.exposed_token (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    seen_on timestamptz NOT NULL DEFAULT now(),
    expires_on timestamptz NOT NULL
);
COMMENT ON TABLE config.exposed_token IS
    'Access tokens that were sent without encryption, as SHA-256: they are refused until they expire. The service can add rows and nothing else.';
CREATE INDEX ON config.exposed_token (expires_on);

CREATE FUNCTION config.forget_exposed_tokens() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM config.exposed_token WHERE expires_on < now()
$$;
COMMENT ON FUNCTION config.forget_exposed_tokens() IS 'Deletes exposed tokens that have expired, and no others.';
REVOKE ALL ON FUNCTION config.forget_exposed_tokens() FROM PUBLIC;

CREATE TABLE config.token_exchange (
    organization_id uuid NOT NULL REFERENCES config.organization ON DELETE CASCADE,
    entity text NOT NULL,
    record_id uuid NOT NULL,
    attribute text NOT NULL,
    claim uuid NOT NULL,
    expires_on timestamptz NOT NULL,
    PRIMARY KEY (organization_id, entity, record_id, attribute)
);
COMMENT ON TABLE config.token_exchange IS
    'Sealed passwords that a server is exchanging for an access token: each by one server at a time. A claim ends when it expires.';

GRANT EXECUTE ON FUNCTION config.forget_exposed_tokens() TO fieldseal_service;
GRANT SELECT, INSERT ON config.exposed_token TO fieldseal_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON config.token_exchange TO fieldseal_service;
