import Foundation
import Model
import PostgresClient
package import Tenancy

/// The operations of System Administrators on an organization's keys: show the state and the key, change it, rehearse or cancel a
/// change, activate, verify, and purge retired keys.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct KeyAdministration: Sendable {
    let session: Session

    var organization: Organization { session.organization }
    var caller: Caller { session.caller }
    var deployment: Deployment { session.deployment }
    var state: OrganizationState { session.state }

    /// What a caller is going to do with the key.
    package enum Purpose: String, Sendable, CaseIterable {
        case see, read, change, rehearse, cancel, activate, verify, purge

        /// The purpose as words in the error for a caller that is refused.
        var words: String {
            switch self {
            case .see: "see the state of the encryption key"
            case .read: "read the encryption key"
            case .change: "change the encryption key"
            case .rehearse: "rehearse a change of the encryption key"
            case .cancel: "cancel a change of the encryption key"
            case .activate: "activate encryption"
            case .verify: "verify the encrypted values"
            case .purge: "purge a retired key"
            }
        }
    }

    /// Checks that the caller is a System Administrator. Records a refusal as a security event before it throws.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session, to purpose: Purpose) async throws {
        self.session = session
        try await recordingRefusal(purpose) { try session.requireSystemAdministrator(to: purpose.words) }
    }

    /// Records that a key message was refused, then rethrows.
    func recordingRefusal(_ purpose: Purpose, _ body: () throws -> Void) async throws {
        do {
            try body()
        } catch let error as FieldsealError {
            try await record(SecurityEvent(.keyRefused, .refused, details: "\(purpose.rawValue): \(error.code)"))
            throw error
        }
    }

    func record(_ event: SecurityEvent) async throws { try await session.record(event) }

    func record(_ event: SecurityEvent, on connection: isolated PostgresConnection) throws {
        try session.record(event, on: connection)
    }
}

extension Session {
    /// Whether encryption is active. Every signed-in user may know this, because the console tells them when passwords can't be
    /// set.
    package var isEncryptionActive: Bool { deployment.keyring.dataKey(of: state) != nil }
}
