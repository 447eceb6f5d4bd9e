-- For a disaster: opening cells in SQL, with pgcrypto and the organization key alone (docs/recovery.md). A deployment may go
-- without; apply it as a superuser, by hand or with `fieldseal migrate recovery`:
--
--     psql -v ON_ERROR_STOP=1 -d restored -f migrations/recovery.sql
--
-- It needs no other file of Fieldseal's, no role and no service. A statement that calls these functions shows its parameters
-- to the server's log and to pg_stat_activity: use them on a machine that is thrown away afterwards.

SET fieldseal.maintenance = 'on';
CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA public;
CREATE SCHEMA IF NOT EXISTS cell;

DO $recovery$
DECLARE
    -- Where pgcrypto is, is looked up, and fixed in the functions' search_path.
    crypto name := (SELECT n.nspname FROM pg_catalog.pg_extension AS e
                      JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'pgcrypto');
    path text := format('pg_catalog, %I, pg_temp', crypto);
BEGIN
    -- PBKDF2 with HMAC-SHA-512 (RFC 8018 section 5.2) for one block of output.
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION cell.derive_key(organization_key text, salt bytea, iterations integer) RETURNS bytea
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = %s AS $function$
        DECLARE
            password bytea := convert_to(normalize(organization_key, NFC), 'UTF8');
            u bytea := hmac(salt || '\x00000001'::bytea, password, 'sha512');
            t bit(512) := ('x' || encode(u, 'hex'))::bit(512);
        BEGIN
            IF iterations NOT BETWEEN 1 AND 10000000 THEN
                RAISE EXCEPTION 'iterations must be 1 to 10,000,000' USING ERRCODE = '22023';
            END IF;
            FOR i IN 2..iterations LOOP
                u := hmac(u, password, 'sha512');
                t := t # ('x' || encode(u, 'hex'))::bit(512);
            END LOOP;
            RETURN substring(bit_send(t) FROM 5);
        END $function$$sql$, path);

    -- AES-256-CBC and HMAC-SHA-512 (RFC 7518 section 5.2): the tag is checked before anything is decrypted.
    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION cell.open(cell bytea, data_key bytea, organization_id uuid, record_id uuid, attribute text)
            RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = %s AS $function$
        DECLARE
            a bytea := substring(cell FROM 1 FOR 5) || uuid_send(organization_id) || uuid_send(record_id)
                || convert_to(attribute, 'UTF8');
            sealed bytea := substring(cell FROM 6 FOR greatest(length(cell) - 37, 0));
            tag bytea := substring(cell FROM greatest(length(cell) - 31, 1));
        BEGIN
            IF length(data_key) <> 64 THEN
                RAISE EXCEPTION 'a data key has 64 bytes' USING ERRCODE = '22023', HINT = 'Make it with cell.derive_key.';
            END IF;
            IF length(cell) < 69 OR length(cell) %% 16 <> 5 OR get_byte(cell, 0) <> 1
                OR substring(hmac(a || sealed || int8send(length(a) * 8::bigint), substring(data_key FROM 1 FOR 32), 'sha512')
                    FROM 1 FOR 32) <> tag
            THEN
                RAISE EXCEPTION 'the cell does not open' USING ERRCODE = 'FS011',
                    HINT = 'The key is another one, the cell is damaged, or it stands at another place: organization, record, attribute.';
            END IF;
            RETURN convert_from(
                decrypt_iv(substring(sealed FROM 17), substring(data_key FROM 33), substring(sealed FROM 1 FOR 16),
                    'aes-cbc/pad:pkcs'), 'UTF8');
        END $function$$sql$, path);

    EXECUTE format($sql$
        CREATE OR REPLACE FUNCTION cell.key_is_right(organization_key text, salt bytea, iterations integer, key_check bytea,
            organization_id uuid) RETURNS boolean
            LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = %s AS $function$
        BEGIN
            RETURN cell.open(key_check, cell.derive_key(organization_key, salt, iterations), organization_id, organization_id,
                'organization.keycheck') = 'fieldseal key check';
        EXCEPTION WHEN SQLSTATE 'FS011' THEN
            RETURN false;
        END $function$$sql$, path);
END $recovery$;

COMMENT ON FUNCTION cell.derive_key(text, bytea, integer) IS
    'The data key, 64 bytes, of an organization key: PBKDF2 with the salt and the iterations of ORG.encryption. Its parameters may reach the log.';
COMMENT ON FUNCTION cell.open(bytea, bytea, uuid, uuid, text) IS
    'The value of a cell, under its data key and at its place, such as mailbox.password. Its parameters may reach the log.';
COMMENT ON FUNCTION cell.key_is_right(text, bytea, integer, bytea, uuid) IS
    'Whether a text is the organization key, by the key check of ORG.encryption. Its parameters may reach the log.';
REVOKE ALL ON FUNCTION cell.derive_key(text, bytea, integer), cell.open(bytea, bytea, uuid, uuid, text),
    cell.key_is_right(text, bytea, integer, bytea, uuid) FROM PUBLIC;
RESET fieldseal.maintenance;
