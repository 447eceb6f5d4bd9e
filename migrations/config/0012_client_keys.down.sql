-- Lost: the public keys of API clients, which prove themselves with secrets alone then; and which assertions were used. Tokens that
-- were revoked stay refused.

DROP FUNCTION config.forget_used_assertions();
DROP TABLE config.used_assertion, config.api_client_key;
ALTER TABLE config.exposed_token DROP COLUMN is_revoked;
COMMENT ON TABLE config.exposed_token IS
    'Access tokens that were sent without encryption, as SHA-256: they are refused until they expire. The service can add rows and nothing else.';
