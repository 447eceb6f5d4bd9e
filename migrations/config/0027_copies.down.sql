-- Lost: nothing.

COMMENT ON COLUMN config.organization_key.copied_on IS 'When somebody first read the key''s text.';
