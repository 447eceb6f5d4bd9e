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
    private let changeID = UUID()

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
    /// - Returns: The grant that attests the key.
    func establish(
        under kek: KeyEncryptionKey,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws -> Grant {
        try generation.putInForce(in: organization, on: connection)
        return try store(under: kek, by: caller, on: connection)
    }

    /// Makes this key the first key of a new organization, whose generation is in force already, and stores the key in `config`.
    ///
    /// - Returns: The grant that attests the key.
    func establishFirst(
        under kek: KeyEncryptionKey,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws -> Grant {
        try generation.insert(into: organization, on: connection)
        return try store(under: kek, by: caller, on: connection)
    }

    private var generation: GenerationKey {
        get throws {
            let keyCheck = try KeyCheck.seal(under: data, organization: organization.id, keyVersion: UInt32(version)).bytes
            return GenerationKey(
                version: version, salt: salt, iterations: iterations, keyCheck: keyCheck, fingerprint: data.fingerprint,
                changeID: changeID)
        }
    }

    private func store(
        under kek: KeyEncryptionKey, by caller: Caller, on connection: isolated PostgresConnection
    ) throws -> Grant {
        let row = try OrganizationKeyRow(
            text, data, version: version, of: organization.id, changeID: changeID, origin: .generated, under: kek, by: caller)
        try row.insert(on: connection)
        return row.grant
    }
}
