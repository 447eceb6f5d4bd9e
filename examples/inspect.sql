-- What a DBA can see of encryption, keys and security events. None of these statements needs a key.

-- Each organization: whether encryption is active, the key version, and the key's fingerprint.
SELECT organization, state, key_version, fingerprint FROM config.encryption_status;

-- Each encrypted attribute: how many records have a value, and how many values are malformed.
SELECT * FROM config.encrypted_attribute_status;

-- The key changes so far.
SELECT * FROM config.key_history;

-- The cells of mailboxes. During a key change, mailbox_cell can have cells of two key versions. So the statement selects one.
SELECT m.name, cell.key_version(c.password), cell.is_cell(c.password), length(c.password) AS bytes
  FROM org_contoso.mailbox AS m JOIN org_contoso.mailbox_cell AS c USING (mailboxid)
 WHERE c.key_version = (SELECT key_version FROM org_contoso.encryption) AND c.password IS NOT NULL
 ORDER BY m.name;

-- The newest security events, and the places where their chain is broken. If the chain is whole, no row is returned.
SELECT kind, outcome, actor, key_version FROM org_contoso.security_event ORDER BY security_event_id DESC LIMIT 5;
SELECT * FROM org_contoso.verify_security_events();
