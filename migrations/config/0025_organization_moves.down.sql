-- Lost: nothing. It is refused while a move has not ended.

DO $$
BEGIN
    IF EXISTS (SELECT FROM config.organization_move) THEN
        RAISE EXCEPTION 'an organization is being moved' USING ERRCODE = 'FS006', HINT = 'Run fieldseal org move for it again, which ends or undoes the move.';
    END IF;
END
$$;

DROP TABLE config.organization_move;
