-- Lost: nothing. It is refused while a client has a certificate, since an older program would take its key for one that signs assertions.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.api_client_key WHERE certificate_hash IS NOT NULL) THEN
        RAISE EXCEPTION 'a client has a certificate' USING ERRCODE = 'FS006',
            HINT = 'Remove it first: fieldseal client list, fieldseal client remove-key.';
    END IF;
END
$$;

ALTER TABLE config.api_client_key
    DROP CONSTRAINT api_client_key_is_new,
    DROP COLUMN binds_tokens, DROP COLUMN certificate_hash,
    ADD CONSTRAINT api_client_key_client_id_public_key_key UNIQUE (client_id, public_key);
