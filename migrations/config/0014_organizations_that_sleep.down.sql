-- Lost: which organizations servers look at regularly. Older servers look at all of them.

DROP TRIGGER note_change ON config.attested_state;
DROP FUNCTION config.note_attested_change();
ALTER TABLE config.attested_state DROP COLUMN changed_in;
DROP TABLE config.sweep;
