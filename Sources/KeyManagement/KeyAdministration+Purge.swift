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
                return try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                    let purged = try purge(version, &change, on: connection)
                    for key in purged {
                        try change.append(
                            SecurityEvent(.keyPurged, .succeeded, keyVersion: version, fingerprint: key.fingerprint), by: caller,
                            on: connection)
                    }
                    return purged
                }
            }
        }
    }

    /// Removes the wrapped keys of a version, also from the attested list. So a wrapped key that SQL restores, from a backup or a
    /// hidden row, is not returned.
    private func purge(
        _ version: Int, _ change: inout AttestedChange, on connection: isolated PostgresConnection
    ) throws -> [KeyPurgeSummary] {
        let purged = try connection.query(
            """
            SELECT fingerprint, created_on, retired_on, purged_on IS NULL FROM config.organization_key
             WHERE organization_id = $1 AND key_version = $2 AND retired_on IS NOT NULL ORDER BY created_on
            """, [.uuid(organization.id), .int32(Int32(clamping: version))]
        ).compactMap { row -> KeyPurgeSummary? in
            let name = Grant.organizationKeyName(version: version, fingerprint: try row.decode(0))
            // SQL could have marked the key as purged. So the attested list decides whether there is a key to purge.
            guard try row.decode(3, as: Bool.self) || change.names(name) else { return nil }
            try change.remove(name)
            return KeyPurgeSummary(
                keyVersion: version, fingerprint: try row.decode(0), from: try row.decode(1), until: try row.decode(2))
        }
        guard !purged.isEmpty else {
            throw FieldsealError(
                .objectDoesNotExist, "There is no retired key of version \(version) that was not purged yet.")
        }
        try change.end(Grant.organizationKeys(version: version))
        _ = try connection.query(
            """
            UPDATE config.organization_key SET wrapped_text = NULL, wrapped_data = NULL, purged_on = now()
             WHERE organization_id = $1 AND key_version = $2 AND retired_on IS NOT NULL AND purged_on IS NULL
            """, [.uuid(organization.id), .int32(Int32(clamping: version))])
        return purged
    }
}
