package import CellCrypto
import Foundation
package import PostgresClient

/// An event that is recorded permanently in an organization's `security_event`.
package struct SecurityEvent: Sendable {
    /// The kind of event.
    package enum Kind: String, Sendable, CaseIterable {
        case keyRead = "key read"
        case keyKept = "key kept"
        case keyChanged = "key changed"
        case keyActivated = "key activated"
        case keyPurged = "key purged"
        case keyChangeCancelled = "key change cancelled"
        case keyChangeRehearsed = "key change rehearsed"
        case keyEncryptionKeyReplaced = "key-encryption key replaced"
        case keyRefused = "key message refused"
        case organizationCreated = "organization created"
        case organizationAttached = "organization attached"
        case organizationExported = "organization exported"
        case organizationImported = "organization imported"
        case organizationCloned = "organization cloned"
        case organizationSuspended = "organization suspended"
        case organizationResumed = "organization resumed"
        case organizationRenamed = "organization renamed"
        case organizationMoved = "organization moved to another database"
        case organizationRemovalBegun = "organization removal begun"
        case organizationUpgraded = "organization upgraded from plaintext"
        case signedIn = "signed in"
        case passwordConfirmed = "password confirmed"
        case signedOut = "signed out"
        case userAdded = "user added"
        case userDisabled = "user disabled"
        case userReset = "user reset"
        case userChanged = "user changed"
        case secondFactorOn = "one-time passwords turned on"
        case secondFactorOff = "one-time passwords turned off"
        case recoveryCodesReplaced = "recovery codes replaced"
        case recoveryCodeUsed = "recovery code used"
        case secondFactorPolicySet = "one-time passwords required"
        case userRemoved = "user removed"
        case clientRemoved = "client removed"
        case issuerAdded = "issuer trusted"
        case issuerRemoved = "issuer not trusted any more"
        case identityLinked = "identity linked"
        case credentialReleased = "credential released"
        case mailDestinationChanged = "mail server changed"
        case emailRefused = "e-mail not handed over"
        case emailsRemoved = "e-mails removed"
        case passwordSet = "password set"
        case passwordReplaced = "password replaced"
        case passwordCleared = "password cleared"
        case eventRefused = "event refused"
        case eventLost = "event lost"
        case eventsArchived = "events archived"
        case auditSealed = "audit sealed"
        case auditNotSealed = "audit not sealed"
        case auditDoubted = "audit entries doubted"
        case clientAdded = "client added"
        case clientDisabled = "client disabled"
        case clientKeyAdded = "client key added"
        case clientKeyRemoved = "client key removed"
        case clientChanged = "client changed"
        case systemUserDisabled = "systemuser disabled"
        case systemUserEnabled = "systemuser enabled"
        case roleGiven = "role given"
        case roleTaken = "role taken away"
        case memberAdded = "team member added"
        case memberRemoved = "team member removed"
        case tokenExposed = "token sent without encryption"
        case tokenRevoked = "token revoked"
        case keyControlSet = "key control set"
        case approvalRequested = "approval requested"
        case approvalGiven = "approval given"
        case approvalRefused = "approval refused"
        case approvalUsed = "approval used"

        /// The kinds of events about links between records. The details of such an event name several records.
        package static let ofLinks: [Kind] = [.memberAdded, .memberRemoved, .roleGiven, .roleTaken]
    }

    /// The outcome of the recorded operation.
    package enum Outcome: String, Sendable, CaseIterable {
        case succeeded, refused, failed
    }

    package var kind: Kind
    package var outcome: Outcome
    package var keyVersion: Int?
    package var fingerprint: String?
    /// Further facts about the event. The details never contain a secret.
    package var details: String?

    package init(_ kind: Kind, _ outcome: Outcome, keyVersion: Int? = nil, fingerprint: String? = nil, details: String? = nil) {
        self.kind = kind
        self.outcome = outcome
        self.keyVersion = keyVersion
        self.fingerprint = fingerprint
        self.details = details
    }

    /// Appends the event to the organization's chain and attests the chain's new end, in one transaction.
    ///
    /// - Throws: ``FieldsealError`` that names the organization when the chain does not end at its attested end.
    package func insert(
        for organization: Organization,
        by caller: Caller,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.append(self, to: organization, by: caller, under: kek, on: connection)
    }

    /// Inserts the first event of a new organization, as the database owner.
    package func insertFirst(
        for organization: Organization,
        by caller: Caller,
        under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.begin(with: self, of: organization, by: caller, under: kek, on: connection)
    }

    /// The values of the inserted columns in order.
    func parameters(by caller: Caller) -> [PostgresParameter] {
        [
            .text(kind.rawValue), .text(outcome.rawValue), .text(caller.actor), .text(caller.recordedAddress),
            .text(caller.requestID),
            .int32(keyVersion.map(Int32.init)), .text(fingerprint), .text(details),
        ]
    }
}
