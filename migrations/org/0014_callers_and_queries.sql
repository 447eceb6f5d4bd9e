-- Requests in the name of another user, and the fiscal year that queries ask about.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE systemuser ADD COLUMN IF NOT EXISTS azureactivedirectoryobjectid uuid;
COMMENT ON COLUMN systemuser.azureactivedirectoryobjectid IS 'The object id by which CallerObjectId names the user.';

ALTER TABLE audit ADD COLUMN callinguserid uuid;
ALTER TABLE audit ALTER COLUMN callinguserid SET DEFAULT nullif(current_setting('fieldseal.calling_user', true), '')::uuid;
COMMENT ON COLUMN audit.callinguserid IS
    'The user that sent the request, where it was in the name of userid; NULL for requests in the user''s own name.';

ALTER TABLE organization ADD COLUMN fiscalcalendarstart timestamptz NOT NULL DEFAULT '2000-01-01T00:00:00Z';
ALTER TABLE organization ADD COLUMN fiscalperiodtype integer NOT NULL DEFAULT 2002 CHECK (fiscalperiodtype BETWEEN 2000 AND 2004);
COMMENT ON COLUMN organization.fiscalcalendarstart IS 'The first day of a fiscal year; its month and day count.';
COMMENT ON COLUMN organization.fiscalperiodtype IS
    'How long a fiscal period is: 2000 a year, 2001 half a year, 2002 a quarter, 2003 a month, 2004 four weeks.';

CREATE FUNCTION fiscal_period_count() RETURNS integer LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT CASE fiscalperiodtype WHEN 2000 THEN 1 WHEN 2001 THEN 2 WHEN 2002 THEN 4 WHEN 2003 THEN 12 ELSE 13 END FROM organization LIMIT 1
$$;
COMMENT ON FUNCTION fiscal_period_count() IS 'How many periods a fiscal year has.';

-- Fiscal periods are counted through: the first one of a year is that year times the number of periods.
CREATE FUNCTION fiscal_start(place integer) RETURNS timestamptz LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    count integer := fiscal_period_count();
    anchor timestamp := (SELECT fiscalcalendarstart AT TIME ZONE 'UTC' FROM organization LIMIT 1);
    step interval := CASE count WHEN 13 THEN interval '28 days' ELSE make_interval(months => 12 / count) END;
    first timestamp;
BEGIN
    -- Queries count up to 10,000 periods or years away from now.
    place := least(greatest(place, count), 9999 * count);
    first := make_timestamp(place / count, 1, 1, 0, 0, 0)
        + make_interval(months => extract(month FROM anchor)::integer - 1, days => extract(day FROM anchor)::integer - 1);
    RETURN (first + (place % count) * step) AT TIME ZONE 'UTC';
END
$$;
COMMENT ON FUNCTION fiscal_start(integer) IS 'When a fiscal period begins; periods are counted through from year 0 on.';

CREATE FUNCTION fiscal_ranges(kind text, x integer, p integer, y integer) RETURNS TABLE (starts timestamptz, ends timestamptz)
    LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    count integer := fiscal_period_count();
    year integer := extract(year FROM now() AT TIME ZONE 'UTC');
    place integer;
    named integer := y * count + p - 1;
BEGIN
    IF fiscal_start(year * count) > now() THEN
        year := year - 1;
    END IF;
    place := year * count;
    WHILE place + 1 < (year + 1) * count AND fiscal_start(place + 1) <= now() LOOP
        place := place + 1;
    END LOOP;
    IF kind = 'period' THEN
        RETURN QUERY SELECT fiscal_start(n * count + p - 1), fiscal_start(n * count + p) FROM generate_series(1900, 2200) AS n WHERE p <= count;
        RETURN;
    END IF;
    IF kind IN ('period and year', 'until', 'from') AND p > count THEN
        RETURN;
    END IF;
    starts := CASE kind
        WHEN 'year' THEN fiscal_start(y * count)
        WHEN 'relative year' THEN fiscal_start((year + x) * count)
        WHEN 'relative period' THEN fiscal_start(place + x)
        WHEN 'last years' THEN fiscal_start((year - x) * count)
        WHEN 'last periods' THEN fiscal_start(place - x)
        WHEN 'next years' THEN now()
        WHEN 'next periods' THEN now()
        WHEN 'until' THEN '-infinity'
        ELSE fiscal_start(named) END;
    ends := CASE kind
        WHEN 'year' THEN fiscal_start((y + 1) * count)
        WHEN 'relative year' THEN fiscal_start((year + x + 1) * count)
        WHEN 'relative period' THEN fiscal_start(place + x + 1)
        WHEN 'last years' THEN now()
        WHEN 'last periods' THEN now()
        WHEN 'next years' THEN fiscal_start((year + x + 1) * count)
        WHEN 'next periods' THEN fiscal_start(place + x + 1)
        WHEN 'from' THEN 'infinity'
        ELSE fiscal_start(named + 1) END;
    RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION fiscal_period_count(), fiscal_start(integer), fiscal_ranges(text, integer, integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION fiscal_period_count(), fiscal_start(integer), fiscal_ranges(text, integer, integer, integer) TO fieldseal_service;
COMMENT ON FUNCTION fiscal_ranges(text, integer, integer, integer) IS
    'The ranges of dates, each with its end excluded, that a query''s condition on fiscal years or periods means: x counts years or periods, p is a period''s number and y a year.';
