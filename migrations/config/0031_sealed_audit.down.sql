-- Lost: which organizations have entries of the audit that are not sealed.

DROP TABLE config.unsealed_audit;
DELETE FROM config.compatible_migration WHERE name = '0031_sealed_audit';
