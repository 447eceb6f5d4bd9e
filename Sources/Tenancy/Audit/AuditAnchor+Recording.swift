package import CellCrypto
package import PostgresClient

extension AuditAnchor {
    /// Appends an event about an archive. The event repeats the range of the audit's blocks, because the event that recorded the
    /// range before may now be in the archive.
    ///
    /// - Parameters:
    ///   - known: The anchor, as read before the archive removed events.
    ///   - change: Returns the anchor as it is after the archive.
    package static func record(
        _ event: SecurityEvent, in organization: Organization, by caller: Caller, under kek: KeyEncryptionKey,
        _ known: AttestedAnchor, on connection: isolated PostgresConnection, _ change: (AuditAnchor) -> AuditAnchor = { $0 }
    ) throws {
        try AttestedState.changeEvents(of: organization, under: kek, on: connection) { state in
            var (event, known) = (event, known)
            // The state is locked, so no server can record a later block meanwhile.
            try known.follow(to: state.state, on: connection)
            if let anchor = known.anchor {
                event.details = [event.details, change(anchor).text].compactMap(\.self).joined(separator: "; ")
            }
            try state.append(event, by: caller, on: connection)
        }
    }

    /// If SQL wrote a block number above this limit, new blocks get the numbers after the limit. The limit has 16 digits, and the
    /// details of an event have room for 18 digits.
    private static let highestLast = 1_000_000_000_000_000

    /// Makes the service seal the whole present audit again, and records this in a security event. Runs as the database owner.
    ///
    /// - Parameter reason: What differed, for the details of the event.
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
        // Block numbers are not used again. `highestLast` leaves numbers free even if SQL wrote a very high number.
        let last = min(former?.last ?? 0, highestLast)
        let digest = try former?.digest ?? sha256([UInt8]())
        let anchor = AuditAnchor(last: last, digest: digest, first: last + 1, before: digest)
        try UnsealedAudit.note(organization, on: connection)
        let details = "\(RecordedSealing.anew), because \(reason.prefix(1_000)); \(anchor.text)"
        try SecurityEvent(.auditSealed, .succeeded, details: details)
            .insert(for: organization, by: caller, under: kek, on: connection)
    }
}
