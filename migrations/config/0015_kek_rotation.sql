-- Replacing the key-encryption key (KEK): which ones were replaced, what is still needed of them, and which servers know which.

CREATE TABLE config.replaced_kek (
    kek_id text PRIMARY KEY CHECK (kek_id ~ '^[0-9a-f]{16}$'),
    successor_id text NOT NULL CHECK (successor_id ~ '^[0-9a-f]{16}$'),
    replaced_on timestamptz NOT NULL DEFAULT now(),
    replaced_by text NOT NULL,
    retired_on timestamptz,
    retired_by text,
    archive_key bytea NOT NULL CHECK (cell.is_cell(archive_key)),
    sealed_under text NOT NULL CHECK (sealed_under ~ '^[0-9a-f]{16}$'),
    CHECK ((retired_on IS NULL) = (retired_by IS NULL))
);
COMMENT ON TABLE config.replaced_kek IS 'Key-encryption keys that were replaced. One that is retired is not accepted any more.';
COMMENT ON COLUMN config.replaced_kek.archive_key IS
    'The subkey that tagged archives of evidence, sealed under the key-encryption key in force: archives of that time still verify.';
COMMENT ON COLUMN config.replaced_kek.sealed_under IS 'The key-encryption key that archive_key is sealed under.';
-- Only the migration role replaces and retires.
GRANT SELECT ON config.replaced_kek TO fieldseal_service, fieldseal_inspector;

-- A verifier can't be tagged anew without the password. It is tagged once more, and what it was tagged with before is kept here.
CREATE TABLE config.verifier_layer (
    user_id uuid PRIMARY KEY REFERENCES config.console_user ON DELETE CASCADE,
    layers bytea NOT NULL CHECK (cell.is_cell(layers))
);
COMMENT ON TABLE config.verifier_layer IS
    'Subkeys of replaced key-encryption keys that a password verifier was made with, sealed under the current one. The next sign-in ends the need.';
GRANT SELECT, INSERT, UPDATE, DELETE ON config.verifier_layer TO fieldseal_service;

CREATE FUNCTION config.forget_verifier_layers() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM config.verifier_layer WHERE user_id = NEW.user_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION config.forget_verifier_layers() IS 'Deletes the layers of a password verifier that was replaced.';
REVOKE ALL ON FUNCTION config.forget_verifier_layers() FROM PUBLIC;
CREATE TRIGGER forget_layers AFTER UPDATE OF verifier ON config.console_user
    FOR EACH ROW EXECUTE FUNCTION config.forget_verifier_layers();

CREATE TABLE config.server (
    server_id uuid PRIMARY KEY,
    host text NOT NULL,
    version text NOT NULL,
    kek_ids text[] NOT NULL,
    started_on timestamptz NOT NULL DEFAULT now(),
    seen_on timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE config.server IS 'Running servers. Each renews its row every ten seconds, and deletes it when it stops.';
COMMENT ON COLUMN config.server.kek_ids IS 'The key-encryption keys that the server knows: a rotation begins when all servers know the new one.';
GRANT SELECT, INSERT, UPDATE, DELETE ON config.server TO fieldseal_service;
GRANT SELECT ON config.server TO fieldseal_inspector;
