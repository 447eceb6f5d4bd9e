import Foundation
import Model
import PostgresClient
import Tenancy

extension KeyAdministration {
    /// Removes the wrapped key of a retired version. Its row stays in the history.
    ///
    /// - Throws: ``FieldsealError`` `.cannotDeleteKey` for the version in force; `.objectDoesNotExist` when there is no such
    ///   version, or it was purged before.
    package func purgeKey(version: Int) async throws -> [KeyPurgeSummary] {
        let caller = caller
        return try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try KeySetLock.take(organization, on: connection)
                let current = try OrganizationState.read(organization.name, in: deployment, on: connection)
                guard version != current.keyVersion, version != current.attested?.keyVersion else {
                    throw FieldsealError(
                        .cannotDeleteKey,
                        "Version \(version) is in force, and can't be purged: encryption can't be turned off. Change the key first."
                    )
                }
                let rows = try connection.query(
                    """
                    UPDATE config.organization_key SET wrapped_text = NULL, wrapped_data = NULL, purged_on = now()
                    WHERE organization_id = $1 AND key_version = $2 AND retired_on IS NOT NULL AND purged_on IS NULL
                    RETURNING fingerprint, created_on, retired_on
                    """, [.uuid(organization.id), .int32(Int32(clamping: version))])
                guard !rows.isEmpty else {
                    throw FieldsealError(
                        .objectDoesNotExist, "There is no retired key of version \(version) that was not purged yet.")
                }
                return try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                    try rows.map { row in
                        let purged = KeyPurgeSummary(
                            keyVersion: version, fingerprint: try row.decode(0), from: try row.decode(1), until: try row.decode(2))
                        // A wrapped key that SQL restores from a backup will not be returned again.
                        try change.remove(Grant.organizationKeyName(version: version, fingerprint: purged.fingerprint))
                        try change.append(
                            SecurityEvent(.keyPurged, .succeeded, keyVersion: version, fingerprint: purged.fingerprint), by: caller,
                            on: connection)
                        return purged
                    }
                }
            }
        }
    }
}
