import Foundation
import Migrations
import PostgresClient

/// An organization as the database has it at one moment: its current key version, and what `config` holds for it.
struct OrganizationState: Sendable {
    let organization: Organization
    let keyVersion: Int
    let fingerprint: String
    let salt: [UInt8]
    let iterations: Int
    let keyCheck: [UInt8]
    let changedOn: Date
    /// The wrapped data key of that version and fingerprint; nil when `config` has none: a key is required.
    let wrappedData: [UInt8]?
    /// What it is wrapped under, as 16 digits in hex.
    let kekID: String?
    /// The row of `api_client` that was asked for, if there is one and it is not disabled.
    let client: ClientRow?

    struct ClientRow: Sendable {
        let name: String
        let systemUserID: UUID
        let role: String
        let tag: [UInt8]
    }

    /// The business unit of that client's systemuser.
    let callersUnit: UUID?

    /// Reads all of it in one statement.
    ///
    /// - Throws: ``FieldsealError`` `.noResource` when there is no such organization, or its schema is gone;
    ///   `.organizationDisabled` when its schema is older or newer than this program knows.
    static func read(
        _ name: String,
        client: UUID? = nil,
        on connection: isolated PostgresConnection
    ) throws -> OrganizationState {
        guard Organization.isName(name) else { throw FieldsealError.noSuchOrganization(name) }
        let rows: PostgresResult
        do {
            rows = try connection.query(
                """
                SELECT o.organization_id, e.key_version, e.fingerprint, e.salt, e.iterations, e.key_check, e.changed_on,
                       k.wrapped_data, c.name, c.systemuser_id, c.role, c.tag, u.businessunitid, o.schema_version, k.kek_id
                  FROM config.organization AS o
                  JOIN \(quoteIdentifier(Organization.schema(of: name))).encryption AS e USING (organization_id)
                  LEFT JOIN config.organization_key AS k
                    ON (k.organization_id, k.key_version, k.fingerprint) = (o.organization_id, e.key_version, e.fingerprint)
                  LEFT JOIN config.api_client AS c
                    ON c.organization_id = o.organization_id AND c.client_id = $2 AND c.disabled_on IS NULL
                  LEFT JOIN \(quoteIdentifier(Organization.schema(of: name))).systemuser AS u ON u.systemuserid = c.systemuser_id
                 WHERE o.name = $1
                """,
                [.text(name), .uuid(client)]
            )
        } catch let error as PostgresError where ["42P01", "3F000"].contains(error.sqlState) {
            throw FieldsealError.noSuchOrganization(name)
        }
        guard let row = rows.first else { throw FieldsealError.noSuchOrganization(name) }
        try check(schemaVersion: try row.decodeIfPresent(13), of: name)
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        return OrganizationState(
            organization: Organization(id: try row.decode(0), name: name),
            keyVersion: try row.decode(1),
            fingerprint: try row.decode(2),
            salt: try bytes(3),
            iterations: try row.decode(4),
            keyCheck: try bytes(5),
            changedOn: try row.decode(6),
            wrappedData: row.isNull(7) ? nil : try bytes(7),
            kekID: try row.decodeIfPresent(14),
            client: row.isNull(8)
                ? nil
                : ClientRow(
                    name: try row.decode(8), systemUserID: try row.decode(9), role: try row.decode(10), tag: try bytes(11)),
            callersUnit: try row.decodeIfPresent(12)
        )
    }

    /// The newest migration of an organization's schema that this program knows.
    static let schemaVersion = MigrationCatalog.migrations(.organization).last?.name ?? ""

    private static func check(schemaVersion version: String?, of name: String) throws(FieldsealError) {
        guard version != schemaVersion else { return }
        let isKnown = version.map { version in MigrationCatalog.migrations(.organization).contains { $0.name == version } } ?? true
        throw FieldsealError(
            .organizationDisabled,
            "The schema of \(name) is at \(version ?? "no migration"), and this server knows \(schemaVersion): "
                + (isKnown ? "fieldseal migrate up --org \(name)." : "it needs a newer server."))
    }
}
