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

    func insert(for organization: Organization, by caller: Caller, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO \(organization.qualified("security_event"))
                (kind, outcome, actor, address, request_id, key_version, fingerprint, details)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            [
                .text(kind.rawValue), .text(outcome.rawValue), .text(caller.actor), .text(caller.address),
                .text(caller.requestID), .int32(keyVersion.map(Int32.init)), .text(fingerprint), .text(details),
            ]
        )
    }
}
