-- Views of the console's lists that people keep under a name. They grant nothing: a view is the query of an address, and the page
-- that it leads to checks what the person may see.

CREATE TABLE config.console_view (
    view_id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES config.console_user ON DELETE CASCADE,
    list text NOT NULL CHECK (length(list) BETWEEN 1 AND 100),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    query text NOT NULL CHECK (octet_length(query) <= 2000),
    created_on timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX ON config.console_view (user_id, list, lower(name));
COMMENT ON TABLE config.console_view IS 'Views of the console''s lists that people keep: a name, and the query of the list''s address.';

GRANT SELECT, INSERT, UPDATE, DELETE ON config.console_view TO fieldseal_service;
