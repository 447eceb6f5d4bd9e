-- Lost: object ids of users, who sent a request in the name of another user, and the settings of the fiscal year.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP FUNCTION fiscal_ranges(text, integer, integer, integer);
DROP FUNCTION fiscal_start(integer);
DROP FUNCTION fiscal_period_count();
ALTER TABLE organization DROP COLUMN fiscalperiodtype;
ALTER TABLE organization DROP COLUMN fiscalcalendarstart;
ALTER TABLE audit DROP COLUMN callinguserid;
ALTER TABLE systemuser DROP COLUMN azureactivedirectoryobjectid;
