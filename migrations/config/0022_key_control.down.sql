-- Lost: requests for approval that are open. It is refused while an organization asks for an approval or a recent sign-in, since an
-- older program would not ask.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.key_control WHERE approval_seconds IS NOT NULL OR sign_in_seconds IS NOT NULL) THEN
        RAISE EXCEPTION 'an organization asks for an approval before its key is used' USING ERRCODE = 'FS006',
            HINT = 'An older program would not ask. Turn it off first: fieldseal key control --approval off --sign-in off.';
    END IF;
END
$$;

DROP TABLE config.approval, config.key_control;
