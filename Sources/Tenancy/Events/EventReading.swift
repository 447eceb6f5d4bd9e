import CellCrypto
import Foundation
package import JSON
import Model
import PostgresClient

/// How a System Administrator reads, searches, verifies and compares the organization's security events.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct EventReading: Sendable {
    package let session: Session

    var organization: Organization { session.organization }
    var deployment: Deployment { session.deployment }

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "read security events")
        self.session = session
    }

    /// Security events in order.
    ///
    /// - Parameters:
    ///   - id: The number of an event. Only later events are returned.
    ///   - limit: How many events are returned at most.
    package func events(after id: Int = 0, limit: Int) async throws -> [RecordedEvent] {
        try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT \(RecordedEvent.columns) FROM \(organization.qualified("security_event")) WHERE security_event_id > $1
                 ORDER BY security_event_id LIMIT $2
                """, [.int64(Int64(id)), .int64(Int64(limit))]
            ).map { try RecordedEvent($0) }
        }
    }

    /// Verifies the chain of security events.
    package func verify(_ extent: EventChainExtent) async throws -> EventChainReport {
        await session.linkPendingEvents()
        return try await deployment.pool.withConnection { connection in
            try EventChainVerifier(organization: organization, kek: session.kek).verify(extent, on: connection)
        }
    }

    /// The attested end of the chain. With a copy outside of the database, ``problems(against:)`` can detect later that an older
    /// state was restored.
    ///
    /// - Returns: Null if the attested state does not verify. ``verify(_:)`` reports that problem.
    package func attestedEnd() async -> JSONValue {
        guard let state = try? await attestedState() else { return .null }
        return state.json(organization)
    }

    private func attestedState() async throws -> AttestedState {
        try await deployment.pool.withConnection { connection in
            do {
                return try AttestedState.verified(organization, under: deployment.kek, on: connection)
            } catch let problem as EventChainProblem {
                throw FieldsealError(.organizationDisabled, "\(organization.name): \(problem.description).")
            }
        }
    }

    /// Compares the chain with the end in an earlier export, and so detects that an older state was restored.
    ///
    /// - Parameter attested: The earlier result of ``attestedEnd()``.
    package func problems(against attested: JSONValue) async throws -> [String] {
        guard attested["organizationId"]?.string == organization.id.text, case .integer(let newest)? = attested["newest"],
            case .integer(let revision)? = attested["revision"], let head = attested["head"]?.string
        else {
            throw FieldsealError(.invalidArgument, "The export is of another organization, or its last line is damaged.")
        }
        let state = try await attestedState()
        return try await deployment.pool.withConnection { connection in
            let replaced = Set(try ReplacedKeyEncryptionKey.all(on: connection).map(\.id))
            var problems = problems(ofTag: attested, replaced: replaced)
            if state.revision < revision {
                problems.append(
                    "the export attests revision \(revision), and the database is at \(state.revision): an older state was restored"
                )
            }
            let rows = try connection.query(
                """
                SELECT hash FROM \(organization.qualified("security_event")) WHERE security_event_id = $1
                UNION ALL SELECT head FROM config.event_archive WHERE organization_id = $2 AND last_id = $1
                """, [.int64(newest), .uuid(organization.id)])
            let isArchived =
                try EventArchivePosition.require(organization, under: deployment.kek, on: connection)
                .map { $0.lastID > newest } ?? false
            let isThere = try rows.contains { try $0.decode(0, as: PostgresBytes.self).bytes == bytes(hexadecimal: head) }
            if !isThere && !isArchived {
                problems.append(
                    "\(newest): this event, with which the export ends, is not in the chain: an older state was restored, or the "
                        + "event was changed"
                )
            }
            return problems
        }
    }
}
