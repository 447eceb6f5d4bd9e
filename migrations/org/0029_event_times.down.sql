-- Lost: nothing.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE unchained_event DROP CONSTRAINT unchained_event_occurred_on_check;
