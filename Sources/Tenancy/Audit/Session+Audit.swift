import Model
import PostgresClient

extension Session {
    /// Seals the new entries of the audit, and records their blocks as security events.
    ///
    /// - Parameters:
    ///   - rest: Seals only if the last block is at least this many seconds old.
    ///   - waits: Whether to wait while another server seals.
    /// - Returns: How many entries were sealed.
    /// - Throws: ``FieldsealError`` if the attested state does not verify, if sealed blocks were changed, or if another session
    ///   has locked the organization's sealing. Then no further entry is sealed.
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
            // During the pass, entries with older times may have been committed. So after a pass of several batches, another pass
            // follows.
            if batch.pass == nil, begun == nil { return count }
            pass = batch.pass
        }
    }
}
