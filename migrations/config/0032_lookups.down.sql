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
            SELECT left(t.relname, -5) AS entity, a.attname AS name
              FROM pg_class AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE t.relnamespace = to_regnamespace(quote_ident(o.schema_name)) AND t.relkind = 'p' AND t.relname LIKE '%\_cell'
               AND a.atttypid = 'bytea'::regtype
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
DELETE FROM config.compatible_migration WHERE name = '0032_lookups';
