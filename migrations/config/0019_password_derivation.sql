-- A salt of 16 bytes is for scrypt. One with a head of five says that PBKDF2 made the verifier, with how many iterations.
ALTER TABLE config.console_user DROP CONSTRAINT console_user_salt_check;
ALTER TABLE config.console_user ADD CONSTRAINT console_user_salt_check CHECK (octet_length(salt) IN (16, 21));
COMMENT ON COLUMN config.console_user.salt IS
    'Of the password: 16 random bytes for scrypt; for PBKDF2 with HMAC-SHA-512 there are five more at the head, 01 and the iterations.';
COMMENT ON TABLE config.console_user IS
    'People who sign in to the console: what scrypt or PBKDF2 makes of their passwords, tagged, and the role that each acts in.';
