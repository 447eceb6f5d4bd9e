package import CellCrypto
package import Foundation
import Model
package import PostgresClient
package import Tenancy

/// A wrapped key in a row of `config.organization_key`.
package struct StoredKey: Sendable {
    package let version: Int
    package let fingerprint: String
    package let wrappedText: [UInt8]
    package let wrappedData: [UInt8]

    package init(version: Int, fingerprint: String, wrappedText: [UInt8], wrappedData: [UInt8]) {
        self.version = version
        self.fingerprint = fingerprint
        self.wrappedText = wrappedText
        self.wrappedData = wrappedData
    }

    /// Wraps a key under the key-encryption key.
    package init(
        _ text: OrganizationKeyText, _ data: DataKey, version: Int, of organization: UUID, under kek: KeyEncryptionKey
    ) throws {
        self.version = version
        fingerprint = data.fingerprint
        wrappedText = try kek.wrap(text, organization: organization, keyVersion: UInt32(version)).bytes
        wrappedData = try kek.wrap(data, organization: organization, keyVersion: UInt32(version)).bytes
    }

    /// The grant that attests the key.
    package var grant: Grant {
        .organizationKey(version: version, fingerprint: fingerprint, wrappedText: wrappedText, wrappedData: wrappedData)
    }

    /// The data key of the row; nil if it does not open under the key-encryption key. SQL can write any version.
    package func data(of organization: UUID, under kek: KeyEncryptionKey) -> DataKey? {
        UInt32(exactly: version).flatMap { try? kek.unwrapData(wrappedData, organization: organization, keyVersion: $0) }
    }

    /// The key's text; nil if it does not open under the key-encryption key.
    package func text(of organization: UUID, under kek: KeyEncryptionKey) -> OrganizationKeyText? {
        UInt32(exactly: version).flatMap { try? kek.unwrapText(wrappedText, organization: organization, keyVersion: $0) }
    }

    /// Replaces the wrapped keys of the row that the organization has for this key.
    ///
    /// - Parameter kek: The key-encryption key under which the new wrapped keys are sealed.
    package func replace(in organization: UUID, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "SELECT config.rewrap_organization_key($1, $2, $3, $4, $5, $6)",
            [
                .uuid(organization), .int32(Int32(version)), .text(fingerprint), .bytes(wrappedText), .bytes(wrappedData),
                .text(kek.id),
            ])
    }

    /// Every key of an organization that was not purged.
    package static func all(of organization: UUID, on connection: isolated PostgresConnection) throws -> [StoredKey] {
        try connection.query(
            """
            SELECT key_version, fingerprint, wrapped_text, wrapped_data FROM config.organization_key
             WHERE organization_id = $1 AND wrapped_text IS NOT NULL AND wrapped_data IS NOT NULL ORDER BY key_version, fingerprint
            """, [.uuid(organization)]
        ).map(StoredKey.init)
    }

    /// Reads `key_version, fingerprint, wrapped_text, wrapped_data`.
    package init(_ row: PostgresRow) throws {
        self.init(
            version: try row.decode(0), fingerprint: try row.decode(1),
            wrappedText: try row.decode(2, as: PostgresBytes.self).bytes,
            wrappedData: try row.decode(3, as: PostgresBytes.self).bytes)
    }
}
