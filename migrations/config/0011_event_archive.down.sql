-- Lost: up to where chains of security events were verified. Where chains begin whose old events were archived is not lost: this is
-- refused while there are any.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.event_archive) THEN
        RAISE EXCEPTION 'the old security events of an organization were archived' USING ERRCODE = 'FS007',
            HINT = 'Without config.event_archive those chains do not verify.';
    END IF;
END
$$;
DROP TABLE config.event_archive, config.event_checkpoint;
