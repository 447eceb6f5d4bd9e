import CellCrypto
package import Foundation
import Glibc
import JSON
import Model
import PostgresClient
package import Tenancy

/// Moves old security events, or old entries of the audit, from the database to a sealed file.
///
/// The file is complete and on disk before the transaction that removes its contents from the tables. After a crash between these
/// two steps, both the file and the rows are there, and the same command writes the file again.
package struct EvidenceArchiver: Sendable {
    private let registry: OrganizationRegistry
    private let organization: Organization
    private let caller: Caller
    private let kek: KeyEncryptionKey

    /// The file to which events or audit entries were moved, or would be moved.
    package struct Summary: Sendable {
        package let file: EventArchiveFile.Summary
        package let path: String
    }

    /// How many events are read at a time.
    private static let pageLength = 5_000

    /// - Parameter registry: Connects as a role that may act as the owner. The service's role can't archive.
    package init(_ registry: OrganizationRegistry, session: Session) {
        self.registry = registry
        organization = session.organization
        caller = session.caller
        kek = session.kek
    }

    // MARK: Security events

    /// Archives the security events before a time, except the newest event.
    ///
    /// - Throws: ``FieldsealError`` when there are no such events, the chain is broken, or a file at `path` must not be
    ///   overwritten.
    package func archiveEvents(before date: Date, to path: String) async throws -> Summary {
        let start = try await asOwner { try EventArchivePosition.require(organization, under: kek, on: $0) }
        let (summary, last, digest) = try await asOwner(isolation: .repeatableRead) {
            try write(before: date, after: start, to: path, on: $0)
        }
        try await asOwner { connection in
            // Only the events right after the last archive may be moved.
            let locked = try EventArchivePosition.require(organization, under: kek, on: connection)
            guard locked == start else {
                throw FieldsealError(
                    .concurrencyVersionMismatch, "Events were archived meanwhile. Nothing was removed. Run the command again.")
            }
            let audit = try known(on: connection)
            try remove(
                from: "security_event", where: "security_event_id <= $1", [.int64(Int64(summary.last))], summary.count, as: "move",
                on: connection)
            try EventArchivePosition(
                events: (start?.events ?? 0) + summary.count, lastID: last.id, head: last.hash, lastMicroseconds: last.microseconds
            ).write(organization, under: kek, on: connection)
            _ = try connection.query(
                """
                INSERT INTO \(organization.qualified("event_archive")) (last_id, first_id, events, head, file_digest, archived_by)
                VALUES ($1, $2, $3, $4, $5, $6)
                """,
                [
                    .int64(Int64(last.id)), .int64(Int64(summary.first)), .int64(Int64(summary.count)), .bytes(last.hash),
                    .bytes(digest), .text(caller.actor),
                ])
            try record("security events \(summary.first) to \(summary.last)", summary, digest, audit, on: connection)
        }
        return Summary(file: summary, path: path)
    }

    private func write(
        before date: Date, after start: EventArchivePosition?, to path: String, on connection: isolated PostgresConnection
    ) throws -> (EventArchiveFile.Summary, RecordedEvent, [UInt8]) {
        let table = organization.qualified("security_event")
        let range = try connection.query(
            """
            WITH later AS (SELECT least(min(security_event_id), (SELECT max(security_event_id) FROM \(table))) AS id
                             FROM \(table) WHERE occurred_on >= $1)
            SELECT count(*), min(e.security_event_id), max(e.security_event_id)
              FROM \(table) AS e, later WHERE e.security_event_id < later.id
            """, [.timestamp(date)])[0]
        let count: Int = try range.decode(0)
        guard count > 0 else {
            throw FieldsealError(
                .objectDoesNotExist, "\(organization.name) has no security events before that moment. Nothing was changed.")
        }
        let (first, lastID): (Int, Int) = (try range.decode(1), try range.decode(2))
        let end = try connection.query("SELECT hash FROM \(table) WHERE security_event_id = $1", [.int64(Int64(lastID))])[0]
        let summary = EventArchiveFile.Summary(
            content: "security events", organization: organization.name, organizationID: organization.id.text, count: count,
            first: first,
            last: lastID, previousHash: start?.head, hash: try end.decode(0, as: PostgresBytes.self).bytes)
        var last: RecordedEvent?
        // An archive of events that are still in the database comes from an interrupted run, and may be overwritten.
        try refuseOverwriting(path) { $0.content == "security events" && $0.first > start?.lastID ?? 0 }
        let digest = try writing(to: path, summary) { writer in
            var hash = start?.head
            while last?.id ?? 0 < lastID {
                let rows = try connection.query(
                    """
                    SELECT \(RecordedEvent.columns) FROM \(table) WHERE security_event_id > $1 AND security_event_id <= $2
                     ORDER BY security_event_id LIMIT \(Self.pageLength)
                    """, [.int64(Int64(last?.id ?? 0)), .int64(Int64(lastID))])
                for row in rows {
                    let event = try RecordedEvent(row)
                    guard event.previousHash == hash, event.hash == (try event.computedHash()) else {
                        throw FieldsealError(
                            .invalidArgument,
                            "The chain of security events is broken at \(event.id), so nothing was archived. See: fieldseal events verify."
                        )
                    }
                    try writer.write(event.json(organization.name))
                    (hash, last) = (event.hash, event)
                }
            }
        }
        guard let last else {
            throw FieldsealError(.unexpected, "Events were archived meanwhile. Nothing was removed; run it again.")
        }
        return (summary, last, digest)
    }

    // MARK: The audit

    /// Archives old blocks of the audit. A block is archived if all entries in it, and in the blocks before it, are older than the
    /// given time.
    package func archiveAudit(before date: Date, to path: String) async throws -> Summary {
        let (summary, digest, entries) = try await asOwner(isolation: .repeatableRead) {
            try writeAudit(before: date, to: path, on: $0)
        }
        try await asOwner { connection in
            let audit = try known(on: connection)
            guard audit.anchor?.first == summary.first else {
                throw FieldsealError(
                    .concurrencyVersionMismatch,
                    "Entries of the audit were archived meanwhile. Nothing was removed. Run the command again.")
            }
            let snapshot = audit.anchor?.last == summary.last ? try audit.endedTransactions(on: connection) : nil
            try removeAudit(summary, entries, on: connection)
            try record("the audit before \(ISO8601.text(date))", summary, digest, audit, on: connection) {
                AuditAnchor(
                    last: $0.last, digest: $0.digest, first: summary.last + 1, before: summary.hash,
                    snapshot: $0.last == summary.last ? snapshot : nil)
            }
        }
        return Summary(file: summary, path: path)
    }

    /// Removes the file's blocks and their entries from the database, if the entries there equal those in the file.
    ///
    /// - Parameter digest: The digest of the entries in the file.
    private func removeAudit(
        _ summary: EventArchiveFile.Summary, _ digest: [UInt8], on connection: isolated PostgresConnection
    ) throws {
        let blocks = [PostgresParameter.int64(Int64(summary.first)), .int64(Int64(summary.last))]
        _ = try connection.query("SELECT set_config('fieldseal.evidence', 'move blocks', true)")
        let gone = try connection.query(
            """
            WITH gone AS (DELETE FROM \(organization.qualified("audit")) AS a WHERE a.block BETWEEN $1 AND $2 RETURNING a.*)
            SELECT sha256(coalesce(
                string_agg(sha256(convert_to(row_to_json(gone)::text, 'UTF8')), ''::bytea ORDER BY gone.block, gone.auditid), ''::bytea))
              FROM gone
            """, blocks)[0]
        guard try constantTimeEqual(gone.decode(0, as: PostgresBytes.self).bytes, digest) else {
            throw FieldsealError(
                .concurrencyVersionMismatch,
                "Entries of the audit were changed while the file was written. Nothing was removed. Delete the file, and run the "
                    + "command again."
            )
        }
        try remove(
            from: "audit_block", where: "number BETWEEN $1 AND $2", blocks, summary.last - summary.first + 1, as: "move blocks",
            on: connection)
    }

    /// How many entries one file has at most. Each entry takes 32 bytes of memory while it is written and removed.
    private static let entriesAtMost = 10_000_000

    /// The summary of a file with the audit before a time.
    private func auditSummary(before date: Date, on connection: isolated PostgresConnection) throws -> EventArchiveFile.Summary {
        let (table, blocks) = (organization.qualified("audit"), organization.qualified("audit_block"))
        let anchor = try known(on: connection).anchor
        let row = try connection.query(
            """
            SELECT sum(b.entries)::bigint, max(b.number) FROM (
                SELECT number, entries, sum(entries) OVER (ORDER BY number) AS total FROM \(blocks) WHERE number <= $2 AND number < coalesce((
                    SELECT n.number FROM \(blocks) AS n
                     WHERE EXISTS (SELECT FROM \(table) AS a WHERE a.block = n.number AND a.createdon >= $1) ORDER BY n.number LIMIT 1),
                    $2 + 1)) AS b
             WHERE b.total <= $3
            """, [.timestamp(date), .int64(Int64(anchor?.last ?? 0)), .int64(Int64(Self.entriesAtMost))])[0]
        guard let anchor, let count: Int = try row.decodeIfPresent(0), let last: Int = try row.decodeIfPresent(1),
            last >= anchor.first
        else {
            throw FieldsealError(
                .objectDoesNotExist, "The audit of \(organization.name) has no entries before that moment. Nothing was changed.")
        }
        let report = try AuditVerifier(organization: organization).verify(anchor.first...last, of: anchor, on: connection)
        if let problem = report.problems.first {
            throw FieldsealError(
                .invalidArgument,
                "The audit is not as it was sealed (\(problem)), so nothing was archived. See: fieldseal events verify.")
        }
        let digest = try connection.query("SELECT digest FROM \(blocks) WHERE number = $1", [.int64(Int64(last))])[0]
        return EventArchiveFile.Summary(
            content: EventArchiveFile.auditContent, organization: organization.name, organizationID: organization.id.text,
            count: count, first: anchor.first, last: last, previousHash: anchor.before,
            hash: try digest.decode(0, as: PostgresBytes.self).bytes)
    }

    /// - Returns: The file's summary, its digest, and the digest of its entries as the database prints them.
    private func writeAudit(
        before date: Date, to path: String, on connection: isolated PostgresConnection
    ) throws -> (EventArchiveFile.Summary, [UInt8], [UInt8]) {
        let summary = try auditSummary(before: date, on: connection)
        try refuseOverwriting(path) { _ in false }
        var entries: [UInt8] = []
        let digest = try writing(to: path, summary) { writer in
            var last: (block: Int, id: UUID)?
            while true {
                let rows = try connection.query(
                    """
                    SELECT a.block, a.auditid, row_to_json(a)::text FROM \(organization.qualified("audit")) AS a
                     WHERE a.block BETWEEN $1 AND $2 \(last == nil ? "" : "AND (a.block, a.auditid) > ($1, $3)")
                     ORDER BY a.block, a.auditid LIMIT \(Self.pageLength)
                    """,
                    [.int64(Int64(last?.block ?? summary.first)), .int64(Int64(summary.last))] + (last.map { [.uuid($0.id)] } ?? [])
                )
                for row in rows {
                    let text = Array(try row.decode(2, as: String.self).utf8)
                    entries += try sha256(text)
                    try writer.write(try JSONParser.parse(text))
                }
                guard rows.count == Self.pageLength else { return }
                let end = rows[rows.count - 1]
                last = (try end.decode(0), try end.decode(1))
            }
        }
        return (summary, digest, try sha256(entries))
    }

    // MARK: Steps

    /// Runs a transaction as the owner. A problem of the chain of events becomes an error that tells the operator what to do.
    private func asOwner<Result: Sendable>(
        isolation: PostgresConnection.Isolation = .readCommitted,
        _ body: @Sendable (isolated PostgresConnection) throws -> Result
    ) async throws -> Result {
        do {
            return try await registry.asOwner(isolation: isolation, body)
        } catch let problem as EventChainProblem {
            throw FieldsealError(
                .invalidArgument,
                "The security events are not as they were recorded (\(problem.description)), so nothing was removed. See: fieldseal events verify."
            )
        }
    }

    /// What the chain of events records about the audit.
    private func known(on connection: isolated PostgresConnection) throws -> AttestedAnchor {
        try AttestedAnchor(of: organization, under: kek, on: connection)
    }

    /// Refuses to overwrite a file. Only an archive whose contents are still in the database may be overwritten.
    private func refuseOverwriting(_ path: String, unless isLeftOver: (EventArchiveFile.Summary) -> Bool) throws {
        guard FileManager.default.fileExists(atPath: path) else { return }
        guard let there = try? EventArchiveFile(path).claimed(), there.organizationID == organization.id.text, isLeftOver(there)
        else {
            throw FieldsealError(.invalidArgument, "The file \(path.quotedPath) exists. Name another file.")
        }
    }

    /// Writes the file under a temporary name first, so that a file with the final name is complete.
    ///
    /// - Returns: The file's digest.
    private func writing(
        to path: String, _ summary: EventArchiveFile.Summary, _ body: (inout EventArchiveFile.Writer) throws -> Void
    ) throws -> [UInt8] {
        let partial = "\(path).partial"
        do {
            var writer = try EventArchiveFile.Writer(partial)
            try writer.write(EventArchiveFile.header(summary))
            try body(&writer)
            let digest = try writer.seal(organization, under: kek)
            try Self.rename(partial, to: path)
            return digest
        } catch {
            try? FileManager.default.removeItem(atPath: partial)
            throw error
        }
    }

    private static func rename(_ partial: String, to path: String) throws {
        guard Glibc.rename(partial, path) == 0, FolderSync.waitForEntry(of: path) else {
            throw FieldsealError(
                .invalidArgument, "The file \(path.quotedPath) can't be written: \(String(cString: strerror(errno))).")
        }
    }

    /// Removes the rows that the file contains. Throws if the number of removed rows is not `count`.
    private func remove(
        from table: String, where condition: String, _ parameters: [PostgresParameter], _ count: Int, as move: String,
        on connection: isolated PostgresConnection
    ) throws {
        _ = try connection.query("SELECT set_config('fieldseal.evidence', $1, true)", [.text(move)])
        let removed = try connection.query("DELETE FROM \(organization.qualified(table)) WHERE \(condition)", parameters)
            .affectedRows
        _ = try connection.query("SELECT set_config('fieldseal.evidence', '', true)")
        guard removed == count else {
            throw FieldsealError(
                .concurrencyVersionMismatch,
                "The file holds \(count) entries, and there are \(removed) now. Nothing was removed. Delete the file, and run the "
                    + "command again."
            )
        }
    }

    private func record(
        _ what: String, _ summary: EventArchiveFile.Summary, _ digest: [UInt8], _ audit: AttestedAnchor,
        on connection: isolated PostgresConnection, _ change: (AuditAnchor) -> AuditAnchor = { $0 }
    ) throws {
        let details = "\(what): \(summary.count) entries, file of SHA-256 \(hexadecimal(digest))"
        try AuditAnchor.record(
            SecurityEvent(.eventsArchived, .succeeded, details: details), in: organization, by: caller, under: kek, audit,
            on: connection, change)
    }
}
