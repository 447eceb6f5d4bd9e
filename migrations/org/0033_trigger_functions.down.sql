-- Lost: nothing.
-- Runs with the organization's schema as search_path; no schema is named here.

DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid FROM pg_proc AS p
         WHERE p.pronamespace = current_schema()::regnamespace AND p.prorettype = 'trigger'::regtype
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fieldseal_service', signature);
    END LOOP;
END
$$;
