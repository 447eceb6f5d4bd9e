-- The ids of API clients that an earlier version added, in the records of the users that they act as. Newer clients write them
-- themselves.
-- Runs with the organization's schema as search_path; no schema of an organization is named here.

UPDATE systemuser AS u SET applicationid = c.client_id
  FROM config.api_client AS c JOIN config.organization AS o ON o.organization_id = c.organization_id
 WHERE o.schema_name = current_schema() AND c.systemuser_id = u.systemuserid AND u.applicationid IS NULL;
