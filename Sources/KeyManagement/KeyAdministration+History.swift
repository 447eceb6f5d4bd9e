import Foundation
import PostgresClient
import Tenancy

extension KeyAdministration {
    /// The state of the encryption for an administrator: whether it is active, the key version and its age, and whether the key
    /// was copied.
    package func encryptionStatus() async throws -> EncryptionStatus {
        let row = try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT origin, copied_on FROM config.organization_key
                WHERE organization_id = $1 AND key_version = $2 AND fingerprint = $3
                """,
                [.uuid(organization.id), .int32(Int32(state.keyVersion)), .text(state.fingerprint)])
        }
        .first
        return EncryptionStatus(
            isActive: deployment.keyring.dataKey(of: state) != nil,
            keyVersion: state.keyVersion,
            fingerprint: state.fingerprint,
            setOn: state.changedOn,
            origin: try row?.decodeIfPresent(0),
            copiedOn: try row?.decodeIfPresent(1),
            nextChangeDue: state.changedOn.addingTimeInterval(KeyPolicy.keyLifetime)
        )
    }

    /// The value of a column in seconds; nil for an infinite interval, which SQL can store.
    private static func seconds(_ row: PostgresRow, _ column: Int) throws -> Double? {
        try row.decodeIfPresent(column, as: Double.self).flatMap { $0.isFinite ? $0 : nil }
    }

    /// Every key version in `config`, the newest first.
    package func keyHistory() async throws -> [KeyHistoryEntry] {
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT key_version, fingerprint, origin, created_on, created_by, created_from, retired_on, cells,
                       extract(epoch FROM duration)::float8, rotation_id, extract(epoch FROM pause)::float8, purged_on
                  FROM config.organization_key WHERE organization_id = $1 ORDER BY key_version DESC, created_on DESC
                """,
                [.uuid(organization.id)]
            )
            .map { row in
                KeyHistoryEntry(
                    keyVersion: try row.decode(0), fingerprint: try row.decode(1), origin: try row.decode(2),
                    createdOn: try row.decode(3), createdBy: try row.decode(4), createdFrom: try row.decodeIfPresent(5),
                    retiredOn: try row.decodeIfPresent(6), cells: try row.decodeIfPresent(7),
                    duration: try Self.seconds(row, 8), pause: try Self.seconds(row, 10),
                    purgedOn: try row.decodeIfPresent(11), changeID: try row.decode(9))
            }
        }
    }
}
