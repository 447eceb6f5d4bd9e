"""Rows that SQL inserts into the history of keys do not count against the quota of key changes."""

import psycopg
from service import Deployment, refused


def test_rows_of_keys_that_sql_made_use_up_no_quota():
    with Deployment.made(FIELDSEAL_KEYS_CHANGE_QUOTA="2") as service:
        assert service.set_key("A-first-change-12345").status_code == 204
        with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
            connection.execute("SET ROLE fieldseal_service")
            connection.execute("""
                INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint, rotation_id,
                                                     origin, created_on, created_by, duration, retired_on)
                SELECT k.organization_id, k.key_version + number, k.wrapped_text, k.wrapped_data, k.kek_id, '0123456789abcdef', gen_random_uuid(),
                       k.origin, now() + (number - 10) * interval '1 minute', 'x', '1 second', now()
                  FROM config.organization_key AS k JOIN config.organization AS o USING (organization_id), generate_series(0, 20) AS number
                 WHERE o.name = 'contoso' AND k.retired_on IS NULL""")
        # Two key changes are within the quota. The third one exceeds it.
        assert service.set_key("A-second-change-12345").status_code == 204
        refused(service.set_key("A-third-change-12345"), 429, "0x80048529")
