-- Passwords that an administrator set: the person chooses another one at the next sign-in.

ALTER TABLE config.console_user ADD COLUMN must_change_password boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN config.console_user.must_change_password IS
    'Whether the person has to choose another password before anything else. The tag covers it.';
