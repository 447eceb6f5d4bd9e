import Model
import PostgresClient

extension Session {
    /// Seals the new entries of the audit, and records their blocks as security events.
    ///
    /// - Parameters:
    ///   - rest: How many seconds ago the last block must have been sealed.
    ///   - waits: Whether to wait for another server that seals.
    /// - Returns: How many entries were sealed.
    /// - Throws: ``FieldsealError`` if the organization's attested state does not verify. Then the entries stay as they are.
    @discardableResult
    package func sealAudit(restingFor rest: Int = 0, waits: Bool = true) async throws -> Int {
        let sealer = AuditSealer(organization: organization, kek: deployment.kek, caller: caller)
        var count = 0
        var after: PostgresMoment?
        var isFirst = true
        while true {
            let (begin, due) = (after, isFirst ? rest : 0)
            let batch = try await deployment.pool.withConnection {
                try sealer.seal(after: begin, restingFor: due, waits: waits, on: $0)
            }
            count += batch.entries
            isFirst = false
            guard batch.isDue else { return count }
            // Behind the last full batch, entries may have come that are older.
            if batch.last == nil, begin == nil { return count }
            after = batch.last
        }
    }

    /// Verifies the blocks of the audit against their entries and the security events.
    package func verifyAudit(_ extent: AuditExtent) async throws -> AuditReport {
        try requireSystemAdministrator(to: "read security events")
        return try await deployment.pool.withConnection {
            try AuditVerifier(organization: organization).verify(extent, on: $0)
        }
    }
}

extension Deployment {
    /// Seals the audit of organizations with new entries. What fails now is tried again at the next turn.
    ///
    /// - Parameter rest: How many seconds ago an organization's last block must have been sealed, by any server.
    package func sealAudits(by caller: Caller, restingFor rest: Int) async {
        for name in (try? await UnsealedAudit.names(in: pool)) ?? [] where !Task.isCancelled {
            guard let session = try? await Session.begin(self, organization: name, caller: caller) else { continue }
            _ = try? await session.sealAudit(restingFor: rest, waits: false)
        }
    }
}
