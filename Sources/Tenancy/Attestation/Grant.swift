package import CellCrypto
package import Foundation
import JSON
package import PostgresClient

/// A row of `config` that grants power, as far as that power goes: what it is about, and everything that it says.
///
/// A row is honoured only when its tag fits what it says *and* the organization's attested list holds that tag. So a row that
/// SQL inserted, altered, or put back as it was before grants nothing.
package struct Grant: Sendable {
    /// What kind of row it is, by its table.
    package enum Kind: String, Sendable {
        case client = "api_client"
        case clientSecret = "api_client_secret"
        case clientKey = "api_client_key"
        case user = "console_user"
        case recoveryCode = "console_recovery_code"
        case session = "console_session"
        case issuer = "oidc_issuer"
        case link = "oidc_link"
        case organizationKey = "organization_key"
        /// Takes power away: a systemuser that was disabled by this service.
        case disabledSystemUser = "disabled systemuser"
        /// Takes power away: the service refuses the whole organization.
        case suspension
        /// Takes power away: people in a role need one-time passwords.
        case secondFactorPolicy = "second factor policy"
        /// The settings of a server profile that were authorized last, once they were changed.
        case mailServer = "mail server"
        /// What the text of the key in force needs besides to open cells, as the schema has it.
        case keyDerivation = "key derivation"
        /// A role that a user or a team was given, and who was made a member of a team.
        case userRole = "systemuserroles"
        case teamRole = "teamroles"
        case teamMember = "teammembership"
        /// What the record of a role is called.
        case role
        /// What is asked for before the key is used.
        case keyControl = "key control"
        case approval
        /// That the organization has given roles at all.
        case rolesWereGiven = "roles were given"
    }

    /// What a row is named by, for the list to find it.
    package struct Name: Sendable {
        package let kind: Kind
        /// The fields of the row's primary key.
        package let key: [[UInt8]]

        package init(_ kind: Kind, _ key: [[UInt8]]) {
            self.kind = kind
            self.key = key
        }

        /// The name in the list.
        package func digest() throws -> GrantList.Digest {
            var message = Array(kind.rawValue.utf8) + [0]
            for field in key { message += Self.length(field.count) + field }
            return GrantList.Digest(try sha256(message))
        }

        /// What is hashed before the only field of a name's key: with it, SQL finds the rows of a list of names.
        package static func prefix(_ kind: Kind, keyLength: Int) -> [UInt8] { Array(kind.rawValue.utf8) + [0] + length(keyLength) }

        private static func length(_ count: Int) -> [UInt8] { withUnsafeBytes(of: UInt64(count).bigEndian) { Array($0) } }

        /// What the list holds for a row that was revoked: no row's tag.
        func revocation(under kek: KeyEncryptionKey) throws -> GrantList.Digest {
            GrantList.Digest(try kek.tag(label: "revoked \(kind.rawValue)", over: key))
        }
    }

    package let name: Name
    /// Everything else that the row says, in a fixed number of fields.
    package let content: [[UInt8]]

    package init(_ name: Name, _ content: [[UInt8]] = []) {
        self.name = name
        self.content = content
    }

    /// The row's tag.
    package func tag(under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: "attested \(name.kind.rawValue)", over: name.key + content)
    }

    /// Whether a stored tag is the one of what the row says, under any of the known key-encryption keys.
    package func fits(_ tag: [UInt8], under kek: KeyEncryptionKey) throws -> Bool {
        try kek.each.contains { constantTimeEqual(tag, try self.tag(under: $0)) }
    }

    // MARK: Fields

    package static func field(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// A field that may be missing is told from an empty one.
    package static func field(_ bytes: [UInt8]?) -> [UInt8] { bytes.map { [1] + $0 } ?? [0] }

    package static func field(_ moment: PostgresMoment?) -> [UInt8] {
        field(moment.map { moment in withUnsafeBytes(of: moment.microseconds.bigEndian) { Array($0) } })
    }

    // MARK: Rows without a dedicated type

    package static func disabledSystemUser(_ id: UUID) -> Grant { Grant(Name(.disabledSystemUser, [id.bytes])) }

    /// The list alone decides whether an organization is suspended; the columns of `config.organization` show it to DBAs.
    package static let suspension = Grant(Name(.suspension, []))

    /// - Parameter tag: The one in `mail_destination`.
    package static func mailServer(_ profile: UUID, tag: [UInt8]) -> Grant { Grant(Name(.mailServer, [profile.bytes]), [tag]) }

    /// Grants nothing: it lets the doctor see that a disaster recovery would fail.
    package static func keyDerivation(salt: [UInt8], iterations: Int, keyCheck: [UInt8]) -> Grant {
        Grant(Name(.keyDerivation, []), [salt, field("\(iterations)"), keyCheck])
    }

    package static func organizationKey(
        version: Int, fingerprint: String, wrappedText: [UInt8], wrappedData: [UInt8]
    ) -> Grant {
        Grant(organizationKeyName(version: version, fingerprint: fingerprint), [wrappedText, wrappedData])
    }

    package static func organizationKeyName(version: Int, fingerprint: String) -> Name {
        Name(.organizationKey, [field("\(version)"), field(fingerprint)])
    }
}
