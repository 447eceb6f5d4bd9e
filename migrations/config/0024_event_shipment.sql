-- How far the security events of each organization were sent to a receiver outside of the database, and which server sends them. SQL
-- can move a position; a receiver sees that by the events' numbers, which have no gaps, and by the attested end in each message.

CREATE TABLE config.event_shipment (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    last_event bigint NOT NULL CHECK (last_event >= 0),
    shipped_on timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE config.event_shipment IS 'The newest security event of each organization that the receiver has acknowledged.';

CREATE TABLE config.event_shipper (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    server_id uuid NOT NULL,
    renew_by timestamptz NOT NULL
);
COMMENT ON TABLE config.event_shipper IS 'The server that sends security events; another one takes over once it has not renewed this in time.';

GRANT SELECT, INSERT, UPDATE ON config.event_shipment, config.event_shipper TO fieldseal_service;
