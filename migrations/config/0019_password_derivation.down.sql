-- Nothing is lost. Passwords that PBKDF2 derived must be reset with scrypt first.
DO $$
BEGIN
    IF EXISTS (SELECT FROM config.console_user WHERE octet_length(salt) <> 16) THEN
        RAISE EXCEPTION 'passwords of people were derived with PBKDF2' USING
            HINT = 'Set passwords.derivation to scrypt and reset these people''s passwords: fieldseal user reset.';
    END IF;
END
$$;
ALTER TABLE config.console_user DROP CONSTRAINT console_user_salt_check;
ALTER TABLE config.console_user ADD CONSTRAINT console_user_salt_check CHECK (octet_length(salt) = 16);
COMMENT ON COLUMN config.console_user.salt IS NULL;
COMMENT ON TABLE config.console_user IS 'People who sign in to the console: scrypt of their passwords, and the role that each acts in.';
