import CellCrypto
package import Foundation
import JSON
package import PostgresClient
package import Tenancy

/// The link with which a person chooses a password once: who made it and when it ends.
///
/// The database has the hash of the link's secret. The row of an invitation has an effect only if the organization's attested list
/// has it. So an invitation that was withdrawn or used is not valid again if SQL restores its former row.
package struct Invitation: Sendable {
    package let person: UUID
    /// The actor that made the invitation, such as `user:ada`.
    package let maker: String
    package let end: PostgresMoment
    private let hash: [UInt8]
    /// The salt of the person's password when the invitation was made. If the password changes, the invitation ends.
    private let salt: [UInt8]
    /// Whether the invitation has expired, by the database's clock.
    let hasEnded: Bool

    /// The entry of the invitation in the attested list.
    package var grant: Grant {
        Grant(.invitation(of: person), [hash, salt, Grant.field(maker), Grant.field(end)])
    }

    /// The invitations of all people of an organization, unverified.
    package static func all(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Invitation] {
        try connection.query(
            """
            SELECT user_id, invited_by, invited_until, invitation, salt, invited_until <= now() FROM config.console_user
             WHERE organization_id = $1 AND invitation IS NOT NULL AND invited_by IS NOT NULL AND invited_until IS NOT NULL
            """, [.uuid(organization.id)]
        ).map { row in
            func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
            return Invitation(
                person: try row.decode(0), maker: try row.decode(1), end: try row.decode(2), hash: try bytes(3),
                salt: try bytes(4), hasEnded: try row.decode(5))
        }
    }

    /// Makes an invitation. The new invitation replaces an unused invitation of the person.
    ///
    /// - Returns: The token of the invitation's link, which is not stored.
    static func make(
        for user: ConsoleUsers.Row, days: Int, by caller: Caller, _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws -> String {
        let secret = try randomBytes(count: secretLength)
        let invitation = Invitation(
            person: user.id, maker: caller.actor, end: change.now.adding(seconds: days * 86_400), hash: try sha256(secret),
            salt: user.salt, hasEnded: false)
        _ = try connection.query(
            "UPDATE config.console_user SET invitation = $2, invited_by = $3, invited_until = $4 WHERE user_id = $1",
            [.uuid(user.id), .bytes(invitation.hash), .text(invitation.maker), .moment(invitation.end)])
        _ = try change.grant(invitation.grant)
        return Data(user.id.bytes + secret).base64URL
    }

    private static let secretLength = 32

    /// The person and the hash of the secret in a token; nil for any other text.
    static func parse(_ token: String) throws -> (person: UUID, hash: [UInt8])? {
        guard token.utf8.count <= 100, let bytes = Data(base64URL: token).map(Array.init), bytes.count == 16 + secretLength else {
            return nil
        }
        let id = UUID(uuid: bytes.prefix(16).withUnsafeBytes { $0.loadUnaligned(as: uuid_t.self) })
        return (id, try sha256(Array(bytes.dropFirst(16))))
    }

    /// Whether `hash` is the hash of the invitation's secret, the invitation has not ended, and the attested list has it.
    func isValid(for hash: [UInt8], in grants: GrantList, under kek: KeyEncryptionKey) throws -> Bool {
        try !hasEnded && constantTimeEqual(self.hash, hash) && grants.holds(grant, under: kek)
    }
}
