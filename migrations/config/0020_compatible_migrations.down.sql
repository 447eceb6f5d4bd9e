-- Nothing is lost. Servers then refuse each database that is newer than they know.
DROP TABLE config.compatible_migration;
