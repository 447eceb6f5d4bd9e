import CellCrypto
import Foundation
import PostgresClient

/// What is recorded for good in an organization's `security_event`.
public struct SecurityEvent: Sendable {
    /// What happened.
    public enum Kind: String, Sendable {
        case keyRead = "key read"
        case keyChanged = "key changed"
        case keyActivated = "key activated"
        case keyPurged = "key purged"
        case keyChangeCancelled = "key change cancelled"
        case keyRefused = "key message refused"
        case organizationCreated = "organization created"
        case organizationAttached = "organization attached"
        case organizationExported = "organization exported"
        case organizationImported = "organization imported"
        case organizationCloned = "organization cloned"
        case organizationUpgraded = "organization upgraded from plaintext"
        case signedIn = "signed in"
        case userAdded = "user added"
        case userDisabled = "user disabled"
        case userReset = "user reset"
        case secondFactorOn = "one-time passwords turned on"
        case secondFactorOff = "one-time passwords turned off"
        case issuerAdded = "issuer trusted"
        case issuerRemoved = "issuer not trusted any more"
        case identityLinked = "identity linked"
        case credentialReleased = "credential released"
        case mailDestinationChanged = "mail server changed"
        case clientAdded = "client added"
        case clientDisabled = "client disabled"
    }

    /// How it ended.
    public enum Outcome: String, Sendable {
        case succeeded, refused, failed
    }

    public var kind: Kind
    public var outcome: Outcome
    public var keyVersion: Int?
    public var fingerprint: String?
    /// More of the facts; never a secret.
    public var details: String?

    init(_ kind: Kind, _ outcome: Outcome, keyVersion: Int? = nil, fingerprint: String? = nil, details: String? = nil) {
        self.kind = kind
        self.outcome = outcome
        self.keyVersion = keyVersion
        self.fingerprint = fingerprint
        self.details = details
    }

    /// Writes the event, and the chain's new length and head under a tag of the KEK. Both or neither.
    func insert(
        for organization: Organization,
        by caller: Caller,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        try connection.atomically {
            let inserted = try connection.query(
                """
                INSERT INTO \(organization.qualified("security_event"))
                    (kind, outcome, actor, address, request_id, key_version, fingerprint, details)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING hash
                """,
                [
                    .text(kind.rawValue), .text(outcome.rawValue), .text(caller.actor), .text(caller.address),
                    .text(caller.requestID), .int32(keyVersion.map(Int32.init)), .text(fingerprint), .text(details),
                ])
            // The chain's lock is held until the transaction ends: nobody else counts meanwhile.
            let known = try connection.query(
                """
                SELECT coalesce((SELECT length + 1 FROM config.event_chain WHERE organization_id = $1),
                                (SELECT count(*) FROM \(organization.qualified("security_event"))))
                """, [.uuid(organization.id)])
            try EventChain(
                length: try known[0].decode(0), head: try inserted[0].decode(0, as: PostgresBytes.self).bytes
            ).keep(for: organization, under: kek, on: connection)
        }
    }
}

/// How long an organization's chain of security events is, and the hash of its newest.
struct EventChain: Equatable {
    let length: Int
    let head: [UInt8]

    private func tag(_ organization: Organization, _ kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: "event_chain", over: [organization.id.bytes, Array("\(length)".utf8), head])
    }

    func keep(for organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO config.event_chain (organization_id, length, head, tag) VALUES ($1, $2, $3, $4)
            ON CONFLICT (organization_id) DO UPDATE SET length = excluded.length, head = excluded.head, tag = excluded.tag
            """,
            [
                .uuid(organization.id), .int64(Int64(length)), .bytes(head), .bytes(try tag(organization, kek)),
            ])
    }

    /// What is wrong with an organization's chain as a whole; nil when it ends where it should.
    static func problem(
        of organization: Organization,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws -> String? {
        let rows = try connection.query(
            """
            SELECT c.length, c.head, c.tag, (SELECT count(*) FROM \(organization.qualified("security_event"))),
                   (SELECT hash FROM \(organization.qualified("security_event")) ORDER BY security_event_id DESC LIMIT 1)
              FROM config.event_chain AS c WHERE c.organization_id = $1
            """, [.uuid(organization.id)])
        guard let row = rows.first else { return "config does not say how long the chain of security events is" }
        let kept = EventChain(length: try row.decode(0), head: try row.decode(1, as: PostgresBytes.self).bytes)
        guard constantTimeEqual(try row.decode(2, as: PostgresBytes.self).bytes, try kept.tag(organization, kek)) else {
            return "the length of the chain of security events in config was not written by this service"
        }
        let length: Int = try row.decode(3)
        let head = row.isNull(4) ? [] : try row.decode(4, as: PostgresBytes.self).bytes
        if length < kept.length { return "\(kept.length - length) of \(kept.length) security events are missing" }
        if kept != EventChain(length: length, head: head) { return "security events were written past this service" }
        return nil
    }
}
