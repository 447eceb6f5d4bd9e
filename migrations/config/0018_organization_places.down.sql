-- Lost: servers of a deployment with several databases hear of new organizations within a minute, and no longer at once.

DROP TRIGGER notify_organizations ON config.organization;
DROP FUNCTION config.notify_organizations();
