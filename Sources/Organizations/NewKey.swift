import CellCrypto
import Foundation
import JSON
import KeyManagement
import Migrations
import Model
import PostgresClient
import Records
import Tenancy

/// A new key with its salt and its key check, and the organization's id.
struct NewKey: Sendable {
    let organization: Organization
    let version: Int
    let data: DataKey
    private let text: OrganizationKeyText
    private let salt: [UInt8]
    private let iterations: Int
    private let rotationID = UUID()

    init(_ text: OrganizationKeyText, of organization: Organization, version: Int, policy: KeyPolicy) throws {
        self.organization = organization
        self.version = version
        self.text = text
        salt = try randomBytes(count: DataKey.saltLength)
        iterations = policy.iterations
        data = try DataKey(derivedFrom: text, salt: salt, iterations: iterations)
    }

    /// Switches to the key's finished generation, and stores the key in `config`.
    ///
    /// - Returns: The facts of the key to attest.
    func establish(
        origin: String,
        under kek: KeyEncryptionKey,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws -> Grant {
        let number = UInt32(version)
        let stored = StoredKey(
            version: version, fingerprint: data.fingerprint,
            wrappedText: try kek.wrap(text, organization: organization.id, keyVersion: number).bytes,
            wrappedData: try kek.wrap(data, organization: organization.id, keyVersion: number).bytes)
        let keyCheck = try KeyCheck.seal(under: data, organization: organization.id, keyVersion: number).bytes
        _ = try connection.query(
            "SELECT \(organization.qualified("switch_generation"))($1, $2, $3, $4, $5, $6, $7)",
            [
                .int32(Int32(version)), .bytes(salt), .int32(Int32(iterations)), .bytes(keyCheck), .text(data.fingerprint),
                .uuid(rotationID), .uuid(organization.id),
            ])
        _ = try connection.query(
            """
            INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint,
                rotation_id, origin, created_by, copied_on)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $8 = 'activated' THEN now() END)
            """,
            [
                .uuid(organization.id), .int32(Int32(version)), .bytes(stored.wrappedText), .bytes(stored.wrappedData),
                .text(kek.id),
                .text(data.fingerprint), .uuid(rotationID), .text(origin), .text(caller.actor),
            ])
        return stored.grant
    }
}
