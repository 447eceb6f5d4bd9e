package import CellCrypto
package import Foundation
import JSON
package import PostgresClient

/// A row of `config` that grants access: its name, and all contents that determine the access.
///
/// A row has an effect only if its tag matches its contents *and* the organization's attested list has that tag. So a row that SQL
/// inserted, changed, or restored grants nothing.
package struct Grant: Sendable {
    /// The kind of the row, by its table.
    package enum Kind: String, Sendable {
        case client = "api_client"
        case clientSecret = "api_client_secret"
        case clientKey = "api_client_key"
        case user = "console_user"
        /// The invitation link with which a person chooses a password.
        case invitation
        /// Says that a person chose their password themself.
        case ownPassword = "own password"
        case recoveryCode = "console_recovery_code"
        case session = "console_session"
        case issuer = "oidc_issuer"
        case link = "oidc_link"
        case organizationKey = "organization_key"
        /// Removes access: a systemuser that this service disabled.
        case disabledSystemUser = "disabled systemuser"
        /// Removes access: the service refuses the whole organization.
        case suspension
        /// Removes access: people with a role need one-time passwords.
        case secondFactorPolicy = "second factor policy"
        /// The last authorized settings of a server profile. The list has this entry only after the profile's first change.
        case mailServer = "mail server"
        /// What is needed to derive the data key from the organization key's text (see ``OrganizationState/keyDerivation``).
        case keyDerivation = "key derivation"
        /// A role of a user or a team, or a member of a team.
        case userRole = "systemuserroles"
        case teamRole = "teamroles"
        case teamMember = "teammembership"
        /// The name in a role's record.
        case role
        /// The rules for the use of the key.
        case keyControl = "key control"
        case approval
        /// Says that the organization has granted roles.
        case rolesWereGiven = "roles were given"
        /// Groups of rows that ``GrantList/end(_:)`` ends together: secrets of a client, sessions and recovery codes of a person,
        /// keys of a version, links of a team.
        case secrets, sessions, codes, keys, links
    }

    /// The name of a row in the attested list.
    package struct Name: Sendable {
        package let kind: Kind
        /// The fields of the row's primary key.
        package let key: [[UInt8]]

        package init(_ kind: Kind, _ key: [[UInt8]]) {
            self.kind = kind
            self.key = key
        }

        /// The digest that stands for the name in the list.
        package func digest() throws -> GrantList.Digest {
            var message = Array(kind.rawValue.utf8) + [0]
            for field in key { message += Self.length(field.count) + field }
            return GrantList.Digest(try sha256(message))
        }

        /// The first bytes of the hash input for a name whose key has one field. SQL appends the key and hashes it, to find rows
        /// by the hashes of their names.
        package static func prefix(_ kind: Kind, keyLength: Int) -> [UInt8] { Array(kind.rawValue.utf8) + [0] + length(keyLength) }

        private static func length(_ count: Int) -> [UInt8] { withUnsafeBytes(of: UInt64(count).bigEndian) { Array($0) } }

        /// The list's entry for a revoked row as earlier versions of the program wrote it: it does not depend on the row's last
        /// tag. No row can have this entry as its tag.
        func revocation(under kek: KeyEncryptionKey) throws -> GrantList.Digest {
            GrantList.Digest(try kek.tag(label: "revoked \(kind.rawValue)", over: key))
        }

        /// The list's entry for a revoked row that had the tag `last`. The first half of the entry is equal in all revocations of
        /// the row. The second half depends on `last`, so an older version of the row can be detected.
        func revocation(of last: GrantList.Digest, under kek: KeyEncryptionKey) throws -> GrantList.Digest {
            let state = try kek.tag(label: "revoked as \(kind.rawValue)", over: key + [last.bytes])
            return try GrantList.Digest(Array(revocation(under: kek).bytes.prefix(8)) + state.prefix(8))
        }
    }

    package let name: Name
    /// The row's contents apart from the primary key, in a fixed number of fields.
    package let content: [[UInt8]]
    /// The group that the row belongs to, whose rows ``GrantList/end(_:)`` ends together; nil if the row is in no group.
    package let group: Name?

    package init(_ name: Name, _ content: [[UInt8]] = [], in group: Name? = nil) {
        self.name = name
        self.content = content
        self.group = group
    }

    /// The row's tag.
    package func tag(under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: "attested \(name.kind.rawValue)", over: name.key + content)
    }

    /// Whether a stored tag matches the row's contents, under any of the known key-encryption keys.
    package func fits(_ tag: [UInt8], under kek: KeyEncryptionKey) throws -> Bool {
        try kek.each.contains { constantTimeEqual(tag, try self.tag(under: $0)) }
    }

    // MARK: Fields

    package static func field(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// Encodes nil and an empty value differently.
    package static func field(_ bytes: [UInt8]?) -> [UInt8] { bytes.map { [1] + $0 } ?? [0] }

    package static func field(_ moment: PostgresMoment?) -> [UInt8] {
        field(moment.map { moment in withUnsafeBytes(of: moment.microseconds.bigEndian) { Array($0) } })
    }

    // MARK: Rows without their own type

    package static func disabledSystemUser(_ id: UUID) -> Grant { Grant(Name(.disabledSystemUser, [id.bytes])) }

    /// An organization is suspended if the list has this grant. The columns of `config.organization` only show the suspension to
    /// DBAs.
    package static let suspension = Grant(Name(.suspension, []))

    /// - Parameter tag: The tag in `mail_destination`.
    package static func mailServer(_ profile: UUID, tag: [UInt8]) -> Grant { Grant(Name(.mailServer, [profile.bytes]), [tag]) }

    /// This entry gives no access. The entry lets the doctor detect that SQL changed the values for key derivation. With changed
    /// values, disaster recovery would fail.
    package static func keyDerivation(salt: [UInt8], iterations: Int, keyCheck: [UInt8]) -> Grant {
        Grant(Name(.keyDerivation, []), [salt, field("\(iterations)"), keyCheck])
    }

    package static func organizationKey(
        version: Int, fingerprint: String, wrappedText: [UInt8], wrappedData: [UInt8]
    ) -> Grant {
        Grant(
            organizationKeyName(version: version, fingerprint: fingerprint), [wrappedText, wrappedData],
            in: organizationKeys(version: version))
    }

    /// The group of all organization keys with this version.
    package static func organizationKeys(version: Int) -> Name { Name(.keys, [field("\(version)")]) }

    /// The fingerprint of an organization's key; nil for other rows.
    package var keyFingerprint: String? {
        name.kind == .organizationKey ? name.key.last.map { String(decoding: $0, as: UTF8.self) } : nil
    }

    package static func organizationKeyName(version: Int, fingerprint: String) -> Name {
        Name(.organizationKey, [field("\(version)"), field(fingerprint)])
    }
}
