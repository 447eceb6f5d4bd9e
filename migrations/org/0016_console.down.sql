DROP INDEX email_createdon;
