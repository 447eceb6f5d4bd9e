-- Public keys of API clients, with which they prove themselves in the place of a secret, and the assertions that were used. As with
-- secrets, `tag` is made with the key-encryption key: a key that SQL inserts or changes is not honoured.

CREATE TABLE config.api_client_key (
    key_id uuid PRIMARY KEY,
    client_id uuid NOT NULL REFERENCES config.api_client ON DELETE CASCADE,
    public_key bytea NOT NULL CHECK (octet_length(public_key) BETWEEN 32 AND 2048),
    expires_on timestamptz,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32),
    created_on timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    UNIQUE (client_id, public_key)
);
COMMENT ON TABLE config.api_client_key IS 'Public keys of API clients, as SubjectPublicKeyInfo in DER. The private keys are the clients'' own.';
COMMENT ON COLUMN config.api_client_key.expires_on IS 'When the certificate expires that the key came in; NULL for a bare key.';

CREATE TABLE config.used_assertion (
    assertion_hash bytea PRIMARY KEY CHECK (octet_length(assertion_hash) = 32),
    expires_on timestamptz NOT NULL
);
COMMENT ON TABLE config.used_assertion IS
    'Assertions of clients that were used, as SHA-256 of client and jti: each is taken once. The service can add rows and nothing else.';
CREATE INDEX ON config.used_assertion (expires_on);

CREATE FUNCTION config.forget_used_assertions() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM config.used_assertion WHERE expires_on < now() - interval '5 minutes'
$$;
COMMENT ON FUNCTION config.forget_used_assertions() IS
    'Deletes used assertions that have expired, and no others. The five minutes are for servers whose clocks are behind.';
REVOKE ALL ON FUNCTION config.forget_used_assertions() FROM PUBLIC;

ALTER TABLE config.exposed_token ADD COLUMN is_revoked boolean NOT NULL DEFAULT false;
COMMENT ON TABLE config.exposed_token IS
    'Access tokens that are refused until they expire, as SHA-256 of what their signatures cover: they were sent without encryption, or revoked. The service can add rows and nothing else.';
COMMENT ON COLUMN config.exposed_token.is_revoked IS 'Whether the client itself revoked it.';

GRANT SELECT, INSERT, DELETE ON config.api_client_key TO fieldseal_service;
GRANT SELECT, INSERT ON config.used_assertion TO fieldseal_service;
GRANT EXECUTE ON FUNCTION config.forget_used_assertions() TO fieldseal_service;
