-- A key on a page of the console counts as a copy when the person says that it is kept. A file, or an answer to a program, is one at once.

COMMENT ON COLUMN config.organization_key.copied_on IS 'When somebody first took the key''s text, or said that it is kept; null if there is no copy yet.';
