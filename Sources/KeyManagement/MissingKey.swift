package import PostgresClient
package import Tenancy

/// A key that SQL deleted from `config` after this service stored it there: its row, or the wrapped key in the row.
package struct MissingKey: Sendable, Equatable {
    package let version: Int
    package let fingerprint: String
    /// Whether the key's row still exists, without the wrapped key.
    package let hasRow: Bool

    /// The name of the key's row in the attested list.
    package var name: Grant.Name { Grant.organizationKeyName(version: version, fingerprint: fingerprint) }

    /// The kinds of events that have the version and the fingerprint of a key.
    private static let kindsWithKey: [SecurityEvent.Kind] = [
        .organizationCreated, .organizationUpgraded, .organizationCloned, .keyChanged, .keyActivated, .keyRead,
    ]

    /// The missing keys of an organization: keys that a security event names and the attested list contains, but that have no row.
    /// The list has only a digest of each key's version and fingerprint, so both are read from the events.
    ///
    /// The key in force is not among them: if its row is missing, encryption has to be activated again.
    package static func all(of state: OrganizationState, on connection: isolated PostgresConnection) throws -> [MissingKey] {
        try connection.query(
            """
            SELECT DISTINCT e.key_version, e.fingerprint, k.key_version IS NOT NULL
              FROM \(state.organization.qualified("security_event")) AS e LEFT JOIN config.organization_key AS k
                ON k.organization_id = $1 AND k.key_version = e.key_version AND k.fingerprint = e.fingerprint
             WHERE e.kind = ANY ($2) AND e.key_version IS NOT NULL AND e.fingerprint IS NOT NULL
               AND (k.wrapped_text IS NULL OR k.wrapped_data IS NULL OR k.purged_on IS NOT NULL)
             ORDER BY 1, 2
            """, [.uuid(state.organization.id), .texts(kindsWithKey.map(\.rawValue))]
        )
        .map { MissingKey(version: try $0.decode(0), fingerprint: try $0.decode(1), hasRow: try $0.decode(2)) }
        .filter { key in
            try !(key.version == state.keyVersion && key.fingerprint == state.fingerprint) && state.grants.names(key.name)
        }
    }
}

extension KeyAdministration {
    /// The retired keys that SQL deleted.
    package func missingKeys() async throws -> [MissingKey] {
        try await deployment.pool.withConnection { connection in
            try MissingKey.all(of: OrganizationState.read(organization.name, in: deployment, on: connection), on: connection)
        }
    }

    /// Accepts that retired keys are gone, as if they had been purged. If SQL restores such a row, its key is not returned.
    ///
    /// - Parameter shown: The keys that the person saw and accepts. Other missing keys are still reported.
    package func accept(_ shown: [MissingKey]) async throws {
        let caller = caller
        try await deployment.pool.withConnection { connection in
            try connection.transaction {
                try KeySetLock.take(organization, on: connection)
                let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
                let missing = try MissingKey.all(of: state, on: connection).filter(shown.contains)
                guard !missing.isEmpty else { return }
                try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
                    for key in missing {
                        try change.remove(key.name)
                        try change.append(
                            SecurityEvent(
                                .keyPurged, .succeeded, keyVersion: key.version, fingerprint: key.fingerprint,
                                details: key.hasRow
                                    ? "the wrapped key was deleted by SQL" : "the row was deleted by SQL"),
                            by: caller, on: connection)
                    }
                }
            }
        }
    }
}
