-- The ids of API clients that an earlier version added, in the records of the users that they act as. Newer clients write them
-- themselves.
-- The program fills them in, in the transaction of this file: an organization's migrations name no other schema.
SELECT;
