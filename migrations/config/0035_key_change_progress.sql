-- The service writes the row that the view shows, so SQL as the service could write a time or a number for which the view failed.

CREATE OR REPLACE VIEW config.key_change_progress AS
SELECT o.name AS organization, c.phase, c.cells, c.total,
       least(greatest(round(100.0 * c.cells / nullif(c.total, 0)), 0), 100)::integer AS percent,
       CASE WHEN isfinite(c.started_on) THEN now() - c.started_on END AS running_for, c.started_by, c.backend,
       EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend AND a.datname = current_database()) AS is_alive
  FROM config.key_change AS c JOIN config.organization AS o USING (organization_id);

-- Servers of the version before do not need it.
INSERT INTO config.compatible_migration VALUES ('0035_key_change_progress');
