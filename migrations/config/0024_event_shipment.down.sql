-- Lost: how far security events were sent. After another upgrade they are sent from the first one on again.

DROP TABLE config.event_shipper, config.event_shipment;
