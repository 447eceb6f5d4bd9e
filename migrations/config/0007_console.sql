-- People who sign in to the console, and their sessions. As with clients, `tag` is made with the key-encryption key over what a
-- row grants and to whom: a row that a DBA inserts or changes is not honoured.

CREATE TABLE config.console_user (
    user_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES config.organization ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    systemuser_id uuid NOT NULL,
    role text NOT NULL CHECK (role IN ('System Administrator', 'Email Administrator', 'Basic User')),
    salt bytea NOT NULL CHECK (octet_length(salt) = 16),
    verifier bytea NOT NULL CHECK (octet_length(verifier) = 32),
    totp bytea CHECK (cell.is_cell(totp)),
    totp_step bigint NOT NULL DEFAULT 0,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32),
    created_on timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    disabled_on timestamptz
);
CREATE UNIQUE INDEX ON config.console_user (organization_id, lower(name));
COMMENT ON TABLE config.console_user IS 'People who sign in to the console: scrypt of their passwords, and the role that each acts in.';
COMMENT ON COLUMN config.console_user.totp IS 'The seed of one-time passwords (RFC 6238), sealed under the key-encryption key; NULL without.';
COMMENT ON COLUMN config.console_user.totp_step IS 'The newest time step whose one-time password was taken: none is taken twice (RFC 6238 section 5.2).';

CREATE TABLE config.console_recovery_code (
    user_id uuid NOT NULL REFERENCES config.console_user ON DELETE CASCADE,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (user_id, hash)
);
COMMENT ON TABLE config.console_recovery_code IS 'What a person signs in with once in the place of a one-time password, as SHA-256.';

CREATE TABLE config.console_session (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    user_id uuid NOT NULL REFERENCES config.console_user ON DELETE CASCADE,
    address text,
    created_on timestamptz NOT NULL DEFAULT now(),
    used_on timestamptz NOT NULL DEFAULT now(),
    fresh_on timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON config.console_session (user_id);
COMMENT ON TABLE config.console_session IS 'Sessions of the console, by the SHA-256 of their tokens. The tokens are in the browsers'' cookies alone.';
COMMENT ON COLUMN config.console_session.fresh_on IS 'When the password was last typed: a key is shown and set for some minutes after that.';

GRANT SELECT, INSERT, UPDATE, DELETE ON config.console_user, config.console_recovery_code,
    config.console_session TO fieldseal_service;
