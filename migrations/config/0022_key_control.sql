-- What an organization asks for before its key is shown or set, besides the role: the approval of a second System Administrator, and
-- a recent sign-in. Rows are attested: what SQL inserts, changes or puts back approves nothing, and takes no rule away.

CREATE TABLE config.key_control (
    organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE,
    approval_seconds integer CHECK (approval_seconds BETWEEN 60 AND 604800),
    sign_in_seconds integer CHECK (sign_in_seconds BETWEEN 10 AND 3600),
    changed_on timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL
);
COMMENT ON TABLE config.key_control IS
    'What organizations ask for before their key is shown or set. The attested list decides: changing a row with SQL takes no rule away.';
COMMENT ON COLUMN config.key_control.approval_seconds IS
    'Within how many seconds a second System Administrator approves; NULL where no approval is asked for.';
COMMENT ON COLUMN config.key_control.sign_in_seconds IS
    'For how many seconds after its sign-in a client may use the key messages of the API; NULL for as long as its token is valid.';

CREATE TABLE config.approval (
    approval_id uuid PRIMARY KEY,
    organization_id uuid NOT NULL REFERENCES config.organization ON DELETE CASCADE,
    operation text NOT NULL,
    subject text NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    requester text NOT NULL,
    requester_id uuid,
    address text,
    created_on timestamptz NOT NULL,
    expires_on timestamptz NOT NULL,
    approver text,
    approver_id uuid,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32)
);
CREATE INDEX ON config.approval (organization_id);
COMMENT ON TABLE config.approval IS
    'Requests for the approval of a second System Administrator that are open or approved. A request that was used, refused or has expired is deleted; security events keep what became of it.';
COMMENT ON COLUMN config.approval.digest IS
    'What is approved, with the key that is set, as a code under the key-encryption key: it is no help in guessing the key.';
COMMENT ON COLUMN config.approval.requester_id IS 'The systemuser that asked; NULL for the command line.';

GRANT SELECT, INSERT, UPDATE, DELETE ON config.key_control, config.approval TO fieldseal_service;
