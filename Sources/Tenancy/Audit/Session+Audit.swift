import Model
import PostgresClient

extension Session {
    /// Seals the new entries of the audit, and records their blocks as security events.
    ///
    /// - Parameters:
    ///   - rest: How many seconds ago the last block must have been sealed.
    ///   - waits: Whether to wait for another server that seals.
    /// - Returns: How many entries were sealed.
    /// - Throws: ``FieldsealError`` if the organization's attested state does not verify, if what was sealed is not as it was, or if another
    ///   session has a lock on it. Then the entries stay as they are.
    @discardableResult
    package func sealAudit(restingFor rest: Int = 0, waits: Bool = true) async throws -> Int {
        let sealer = AuditSealer(organization: organization, kek: deployment.kek, caller: caller)
        var count = 0
        var pass: AuditSealer.Pass?
        var isFirst = true
        while true {
            let (begun, due) = (pass, isFirst ? rest : 0)
            let batch = try await deployment.pool.withConnection {
                try sealer.seal(begun, restingFor: due, waits: waits, on: $0)
            }
            count += batch.entries
            isFirst = false
            guard batch.isDue else { return count }
            // Behind the last full batch, entries may have come that are older.
            if batch.pass == nil, begun == nil { return count }
            pass = batch.pass
        }
    }
}
