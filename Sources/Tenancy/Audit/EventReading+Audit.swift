import PostgresClient

extension EventReading {
    /// Verifies the blocks of the audit against their entries and the security events.
    package func verifyAudit(_ extent: AuditExtent) async throws -> AuditReport {
        try await deployment.pool.withConnection {
            try AuditVerifier(organization: organization).verify(extent, on: $0)
        }
    }
}
