package import CellCrypto
package import Foundation
package import PostgresClient
package import Tenancy

/// A new row of `config.organization_key`.
package struct OrganizationKeyRow: Sendable {
    /// Where the key's text came from.
    package enum Origin: String, Sendable {
        /// The server generated it.
        case generated
        /// An administrator chose it.
        case chosen
        /// An administrator entered the text of a key that was in force already.
        case activated
    }

    /// The result of a key change.
    struct Change: Sendable {
        let cells: Int
        /// How long writers waited for the switch.
        let pause: Duration
    }

    let key: StoredKey
    private let organization: UUID
    private let kekID: String
    private let changeID: UUID
    private let origin: Origin
    private let caller: Caller

    /// Wraps a key under the key-encryption key.
    package init(
        _ text: OrganizationKeyText,
        _ data: DataKey,
        version: Int,
        of organization: UUID,
        changeID: UUID,
        origin: Origin,
        under kek: KeyEncryptionKey,
        by caller: Caller
    ) throws {
        key = try StoredKey(text, data, version: version, of: organization, under: kek)
        kekID = kek.id
        self.organization = organization
        self.changeID = changeID
        self.origin = origin
        self.caller = caller
    }

    /// The grant that attests the key.
    package var grant: Grant { key.grant }

    /// Inserts the row of a key that was not made by a key change.
    package func insert(on connection: isolated PostgresConnection) throws {
        try insert(after: nil, on: connection)
    }

    /// - Parameter change: The key change that made the key; nil if none did. The key change began with the open transaction.
    func insert(after change: Change?, on connection: isolated PostgresConnection) throws {
        // `now()` is the start of the transaction.
        _ = try connection.query(
            """
            INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint,
                rotation_id, origin, created_by, created_from, copied_on, cells, duration, pause)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN $8 = 'activated' THEN now() END, $11,
                CASE WHEN $11 IS NOT NULL THEN clock_timestamp() - now() END, $12 * interval '1 second')
            """,
            [
                .uuid(organization), .int32(Int32(key.version)), .bytes(key.wrappedText), .bytes(key.wrappedData), .text(kekID),
                .text(key.fingerprint), .uuid(changeID), .text(origin.rawValue), .text(caller.actor), .text(caller.address),
                .int64(change.map { Int64($0.cells) }), .double(change.map { $0.pause / .seconds(1) }),
            ])
    }
}
