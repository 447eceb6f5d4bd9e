package import CellCrypto
package import PostgresClient

extension AuditAnchor {
    /// Appends an event about an archive, which also says what the audit's blocks are: the event that said it may be in the archive.
    ///
    /// - Parameters:
    ///   - former: What was known before events were removed.
    ///   - change: What the archive changes.
    package static func record(
        _ event: SecurityEvent, in organization: Organization, by caller: Caller, under kek: KeyEncryptionKey,
        _ former: AuditAnchor?, on connection: isolated PostgresConnection, _ change: (AuditAnchor) -> AuditAnchor = { $0 }
    ) throws {
        try AttestedState.changeEvents(of: organization, under: kek, on: connection) { state in
            var event = event
            // Now that the state is locked, no server records a later block.
            if let anchor = try newest(of: organization, on: connection) ?? former {
                event.details = [event.details, change(anchor).text].compactMap(\.self).joined(separator: "; ")
            }
            try state.append(event, by: caller, on: connection)
        }
    }

    /// Has the whole audit sealed anew as it is, as the owner, and records that.
    ///
    /// - Parameter reason: What differed.
    package static func beginAnew(
        _ organization: Organization, by caller: Caller, under kek: KeyEncryptionKey, because reason: String,
        on connection: isolated PostgresConnection
    ) throws {
        let (audit, blocks) = (organization.qualified("audit"), organization.qualified("audit_block"))
        let former = try newest(of: organization, on: connection)
        _ = try connection.query("SELECT set_config('fieldseal.evidence', 'move blocks', true)")
        _ = try connection.query("DELETE FROM \(blocks)")
        _ = try connection.query("UPDATE \(audit) SET block = NULL WHERE block IS NOT NULL")
        _ = try connection.query("SELECT set_config('fieldseal.evidence', '', true)")
        let last = former?.last ?? 0
        let digest = try former?.digest ?? sha256([UInt8]())
        let anchor = AuditAnchor(last: last, digest: digest, first: last + 1, before: digest)
        try UnsealedAudit.note(organization, on: connection)
        try SecurityEvent(.auditSealed, .succeeded, details: "to be sealed anew, because \(reason.prefix(1_000)); \(anchor.text)")
            .insert(for: organization, by: caller, under: kek, on: connection)
    }
}
