package import CellCrypto
package import PostgresClient

extension AuditAnchor {
    /// Appends an event about an archive, which also says what the audit's blocks are: the event that said it may be in the archive.
    ///
    /// - Parameters:
    ///   - known: What was known before events were removed.
    ///   - change: What the archive changes.
    package static func record(
        _ event: SecurityEvent, in organization: Organization, by caller: Caller, under kek: KeyEncryptionKey,
        _ known: AttestedAnchor, on connection: isolated PostgresConnection, _ change: (AuditAnchor) -> AuditAnchor = { $0 }
    ) throws {
        try AttestedState.changeEvents(of: organization, under: kek, on: connection) { state in
            var (event, known) = (event, known)
            // Now that the state is locked, no server records a later block.
            try known.follow(to: state.state, on: connection)
            if let anchor = known.anchor {
                event.details = [event.details, change(anchor).text].compactMap(\.self).joined(separator: "; ")
            }
            try state.append(event, by: caller, on: connection)
        }
    }

    /// An event has room for numbers of 18 digits.
    private static let highestLast = 1_000_000_000_000_000

    /// Has the whole audit sealed anew as it is, as the owner, and records that.
    ///
    /// - Parameter reason: What differed.
    package static func beginAnew(
        _ organization: Organization, by caller: Caller, under kek: KeyEncryptionKey, because reason: String,
        on connection: isolated PostgresConnection
    ) throws {
        let (audit, blocks) = (organization.qualified("audit"), organization.qualified("audit_block"))
        let former = try newestEvent(of: organization, on: connection).flatMap { AuditAnchor($0.details ?? "") }
        _ = try connection.query("SELECT set_config('fieldseal.evidence', 'move blocks', true)")
        _ = try connection.query("DELETE FROM \(blocks)")
        _ = try connection.query("UPDATE \(audit) SET block = NULL WHERE block IS NOT NULL")
        _ = try connection.query("SELECT set_config('fieldseal.evidence', '', true)")
        // Numbers are not used again. One that SQL wrote leaves some over.
        let last = min(former?.last ?? 0, highestLast)
        let digest = try former?.digest ?? sha256([UInt8]())
        let anchor = AuditAnchor(last: last, digest: digest, first: last + 1, before: digest)
        try UnsealedAudit.note(organization, on: connection)
        let details = "\(RecordedSealing.anew), because \(reason.prefix(1_000)); \(anchor.text)"
        try SecurityEvent(.auditSealed, .succeeded, details: details)
            .insert(for: organization, by: caller, under: kek, on: connection)
    }
}
