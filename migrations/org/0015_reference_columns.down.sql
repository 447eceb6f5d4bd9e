-- Lost: job titles and telephone numbers of users, and descriptions, addresses and administrators of teams.

DROP VIEW sdkmessage, sdkmessagefilter;
ALTER TABLE role DROP COLUMN ismanaged, DROP COLUMN parentrootroleid, DROP COLUMN roletemplateid;
ALTER TABLE transactioncurrency DROP COLUMN currencyprecision, DROP COLUMN statecode, DROP COLUMN statuscode;
ALTER TABLE organization DROP COLUMN languagecode, DROP COLUMN localeid;
ALTER TABLE businessunit DROP COLUMN isdisabled, DROP COLUMN description, DROP COLUMN emailaddress;
ALTER TABLE team
    DROP COLUMN teamtype, DROP COLUMN isdefault, DROP COLUMN description, DROP COLUMN emailaddress, DROP COLUMN administratorid;
ALTER TABLE systemuser
    DROP COLUMN firstname, DROP COLUMN lastname, DROP COLUMN accessmode, DROP COLUMN isintegrationuser, DROP COLUMN applicationid,
    DROP COLUMN title, DROP COLUMN jobtitle, DROP COLUMN mobilephone,
    DROP COLUMN address1_telephone1;
