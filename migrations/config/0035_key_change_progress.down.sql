-- Lost: nothing.

CREATE OR REPLACE VIEW config.key_change_progress AS
SELECT o.name AS organization, c.phase, c.cells, c.total, round(100.0 * c.cells / nullif(c.total, 0))::integer AS percent,
       now() - c.started_on AS running_for, c.started_by, c.backend,
       EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = c.backend AND a.datname = current_database()) AS is_alive
  FROM config.key_change AS c JOIN config.organization AS o USING (organization_id);
DELETE FROM config.compatible_migration WHERE name = '0035_key_change_progress';
