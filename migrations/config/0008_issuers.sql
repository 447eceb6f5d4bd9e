-- OpenID providers that an organization trusts, and who of theirs is who here. As with clients, `tag` is made with the
-- key-encryption key: an issuer or a link that a DBA inserts or changes is not honoured.

CREATE TABLE config.oidc_issuer (
    issuer_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES config.organization ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    issuer text NOT NULL CHECK (issuer ~ '^https://[^?#]+$' AND length(issuer) <= 500),
    client_id text NOT NULL CHECK (length(client_id) BETWEEN 1 AND 500),
    client_secret bytea CHECK (cell.is_cell(client_secret)),
    claim text NOT NULL CHECK (claim IN ('sub', 'oid', 'appid', 'azp', 'client_id')),
    tag bytea NOT NULL CHECK (octet_length(tag) = 32),
    created_on timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    UNIQUE (organization_id, issuer),
    UNIQUE (organization_id, name)
);
COMMENT ON TABLE config.oidc_issuer IS 'OpenID providers that an organization trusts, for its console and for tokens of its Web API.';
COMMENT ON COLUMN config.oidc_issuer.client_secret IS 'The secret that this service has there, sealed under the key-encryption key; NULL for a public client.';
COMMENT ON COLUMN config.oidc_issuer.claim IS 'The claim that says who somebody is; one that the provider never gives to anybody else.';

CREATE TABLE config.oidc_link (
    issuer_id uuid NOT NULL REFERENCES config.oidc_issuer ON DELETE CASCADE,
    subject text NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
    user_id uuid REFERENCES config.console_user ON DELETE CASCADE,
    client_id uuid REFERENCES config.api_client ON DELETE CASCADE,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32),
    created_on timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL,
    PRIMARY KEY (issuer_id, subject),
    CHECK (num_nonnulls(user_id, client_id) = 1)
);
COMMENT ON TABLE config.oidc_link IS 'Which person of the console, or which API client, a subject of an issuer is.';

GRANT SELECT, INSERT, UPDATE, DELETE ON config.oidc_issuer, config.oidc_link TO fieldseal_service;
