-- Lost: nothing. It is refused while a person has to choose another password, since an older program would not honour that row.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.console_user WHERE must_change_password) THEN
        RAISE EXCEPTION 'a person has to choose another password' USING ERRCODE = 'FS006',
            HINT = 'They do so at their next sign-in; or remove them: fieldseal user remove.';
    END IF;
END
$$;

ALTER TABLE config.console_user DROP COLUMN must_change_password;
