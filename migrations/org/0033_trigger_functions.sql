-- Nobody but the owner may make triggers of the functions for triggers. Firing a trigger needs no right to its function. Making one
-- does: on a table of its own, the service could have had its code run as the owner, by a cast of a type of its own.
-- Runs with the organization's schema as search_path; no schema is named here.

DO $$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid FROM pg_proc AS p
         WHERE p.pronamespace = current_schema()::regnamespace AND p.prorettype = 'trigger'::regtype
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, fieldseal_service, fieldseal_inspector', signature);
    END LOOP;
END
$$;
