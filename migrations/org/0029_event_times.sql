-- A time that the service can't read would keep every event behind it out of the chain, and no role of the service deletes such a row.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE unchained_event ADD CONSTRAINT unchained_event_occurred_on_check
    CHECK (occurred_on BETWEEN '2000-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00');
