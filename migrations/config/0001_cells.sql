-- Functions over the bytes of a cell (docs/cell-format.md). They need no key and no extension.
-- The schema `cell` outlives a lost `config`, so these are made or replaced.

CREATE OR REPLACE FUNCTION cell.format(cell bytea) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN get_byte(cell, 0);
COMMENT ON FUNCTION cell.format(bytea) IS 'The format byte of a cell; 1 is the only one there is.';

CREATE OR REPLACE FUNCTION cell.key_version(cell bytea) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (get_byte(cell, 1)::bigint << 24) | (get_byte(cell, 2) << 16) | (get_byte(cell, 3) << 8) | get_byte(cell, 4);
COMMENT ON FUNCTION cell.key_version(bytea) IS 'The version of the organization key that a cell is sealed under.';

-- Neither STRICT nor SET, and plain SQL, so that the planner puts it inline: it runs for every cell that is written.
CREATE OR REPLACE FUNCTION cell.is_cell(cell bytea) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN length(cell) >= 69 AND length(cell) % 16 = 5 AND get_byte(cell, 0) = 1
        AND substring(cell FROM 2 FOR 4) <> '\x00000000'::bytea;
COMMENT ON FUNCTION cell.is_cell(bytea) IS
    'Whether bytes have the shape of a cell. That it opens is known only to who holds the key.';
