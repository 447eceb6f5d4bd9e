-- Servers of a deployment with several databases know which database has which organization. They hear of each change.

CREATE FUNCTION config.notify_organizations() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('fieldseal_organizations', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION config.notify_organizations() IS 'Has servers read the list of organizations again.';
REVOKE ALL ON FUNCTION config.notify_organizations() FROM PUBLIC;
CREATE TRIGGER notify_organizations AFTER INSERT OR DELETE OR UPDATE OF name ON config.organization
    FOR EACH STATEMENT EXECUTE FUNCTION config.notify_organizations();
