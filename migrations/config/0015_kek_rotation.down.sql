-- Lost: which servers run. Refused after a rotation of the key-encryption key, because people could not sign in and archives would not
-- verify without what these tables hold.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.replaced_kek) OR EXISTS (SELECT FROM config.verifier_layer) THEN
        RAISE EXCEPTION 'the key-encryption key was replaced' USING ERRCODE = 'FS007',
            HINT = 'Without config.replaced_kek and config.verifier_layer, passwords and archives of before would not verify.';
    END IF;
END
$$;
DROP TRIGGER forget_layers ON config.console_user;
DROP FUNCTION config.forget_verifier_layers();
DROP TABLE config.server, config.verifier_layer, config.replaced_kek;
