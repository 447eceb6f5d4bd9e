package import Foundation
package import PostgresClient
package import Tenancy

/// The values in an organization's schema that belong to a generation's key: how to derive the key, and how to recognize it.
package struct GenerationKey: Sendable {
    package let version: Int
    package let salt: [UInt8]
    package let iterations: Int
    package let keyCheck: [UInt8]
    package let fingerprint: String
    /// The change that made the key.
    package let changeID: UUID

    package init(version: Int, salt: [UInt8], iterations: Int, keyCheck: [UInt8], fingerprint: String, changeID: UUID) {
        self.version = version
        self.salt = salt
        self.iterations = iterations
        self.keyCheck = keyCheck
        self.fingerprint = fingerprint
        self.changeID = changeID
    }

    /// Makes the key's finished generation the current one.
    package func putInForce(in organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            "SELECT \(organization.qualified("switch_generation"))($1, $2, $3, $4, $5, $6, $7)", values(of: organization))
    }

    /// Writes the key of a new organization, and makes its generation the current one. Runs as the database owner.
    package func insert(into organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            INSERT INTO \(organization.qualified("encryption"))
                (key_version, salt, iterations, key_check, fingerprint, rotation_id, organization_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """, values(of: organization))
    }

    private func values(of organization: Organization) -> [PostgresParameter] {
        [
            .int32(Int32(version)), .bytes(salt), .int32(Int32(iterations)), .bytes(keyCheck), .text(fingerprint),
            .uuid(changeID), .uuid(organization.id),
        ]
    }
}
