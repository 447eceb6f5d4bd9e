-- What is in each encrypted attribute. The tables of an organization are found by their dependence on its schema: the catalog has no
-- index by schema, and would be read whole for each organization.

CREATE OR REPLACE FUNCTION config.encrypted_attributes()
    RETURNS TABLE (organization text, attribute text, records bigint, cells bigint, cells_by_key_version jsonb, bytes bigint,
        malformed bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    o record;
    c record;
BEGIN
    FOR o IN SELECT g.name, g.schema_name FROM config.organization AS g ORDER BY g.name LOOP
        -- Every bytea column of a table of cells is an encrypted attribute.
        FOR c IN
            WITH member AS MATERIALIZED (
                SELECT d.objid FROM pg_depend AS d
                 WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(quote_ident(o.schema_name))
                   AND d.classid = 'pg_class'::regclass)
            SELECT left(t.relname, -5) AS entity, a.attname AS name
              FROM member AS m JOIN pg_class AS t ON t.oid = m.objid
              JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE t.relkind = 'p' AND t.relname LIKE '%\_cell' AND a.atttypid = 'bytea'::regtype
             ORDER BY 1, 2
        LOOP
            organization := o.name;
            attribute := c.entity || '.' || c.name;
            EXECUTE format($sql$
                SELECT (SELECT count(*) FROM %1$I.%2$I), coalesce(sum(v.cells), 0), jsonb_object_agg(v.version, v.cells)
                           FILTER (WHERE v.version IS NOT NULL), coalesce(sum(v.bytes), 0), coalesce(sum(v.malformed), 0)
                  FROM (SELECT cell.key_version(x.%3$I) AS version, count(*) AS cells, sum(length(x.%3$I)) AS bytes,
                               count(*) FILTER (WHERE NOT cell.is_cell(x.%3$I)) AS malformed
                          FROM %1$I.%4$I AS x, %1$I.encryption AS e
                         WHERE x.key_version = e.key_version AND x.%3$I IS NOT NULL GROUP BY 1) AS v
                $sql$, o.schema_name, c.entity, c.name, c.entity || '_cell')
            INTO records, cells, cells_by_key_version, bytes, malformed;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

-- Servers of the version before do not need it.
INSERT INTO config.compatible_migration VALUES ('0032_lookups');
