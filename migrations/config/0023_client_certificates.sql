-- Certificates with which API clients prove themselves in the TLS handshake (RFC 8705): rows of api_client_key, which are attested.

ALTER TABLE config.api_client_key
    ADD COLUMN certificate_hash bytea CHECK (octet_length(certificate_hash) = 32),
    ADD COLUMN binds_tokens boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT api_client_key_client_id_public_key_key,
    ADD CONSTRAINT api_client_key_is_new UNIQUE NULLS NOT DISTINCT (client_id, public_key, certificate_hash);
COMMENT ON COLUMN config.api_client_key.certificate_hash IS
    'SHA-256 of the certificate that the client shows in the TLS handshake; NULL for a key that signs assertions. The tag covers it.';
COMMENT ON COLUMN config.api_client_key.binds_tokens IS
    'Whether tokens that the certificate brings are good on connections with it alone. The tag covers it.';
