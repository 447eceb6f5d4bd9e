import Foundation
import KeyManagement
import Migrations
import Model
import PostgresClient
package import Tenancy

/// Moves an organization to another database of its deployment.
///
/// Readers and writers continue while rows are copied and compared. A journal notes later writes, and rounds copy them. Writers
/// wait only for the last round. One commit, in the old database, decides which copy is in force: before the commit the old copy,
/// after it the new one. So exactly one copy is in force, even if a move is interrupted. Running the move again completes it or
/// undoes it.
package struct OrganizationMove: Sendable {
    /// A database of the deployment.
    package struct Place: Sendable {
        /// The database's name in the settings.
        package let name: String
        let registry: OrganizationRegistry

        package init(name: String, registry: OrganizationRegistry) {
            self.name = name
            self.registry = registry
        }
    }

    /// The result of a move.
    package struct Summary: Sendable {
        package let organization: Organization
        package let from: String
        package let to: String
        package internal(set) var tables = 0
        package internal(set) var rows = 0
        /// How many rounds copied later writes while writers continued.
        package internal(set) var rounds = 0
        /// How long writers waited; after a rehearsal, how long they would have waited. Nil if only an earlier move was completed.
        package internal(set) var pause: Duration?
    }

    let name: String
    let source: Place
    let target: Place
    let caller: Caller
    let isRehearsal: Bool
    /// How long writers may wait. The wait is estimated from the last round.
    let longestPause: Duration
    let onProgress: @Sendable (String) -> Void

    static let application = "fieldseal org move"
    /// How long writers may wait, if the operator gives no other time.
    package static let defaultPause = Duration.seconds(1)

    /// Finds the database of an organization.
    ///
    /// - Parameter places: All databases of the deployment. Each database must be reachable.
    /// - Throws: ``FieldsealError`` when there is nothing to move.
    package init(
        _ name: String, among places: [Place], to target: String, isRehearsal: Bool, longestPause: Duration = defaultPause,
        by caller: Caller,
        onProgress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws {
        guard let end = places.first(where: { $0.name == target }) else {
            throw Self.refusal("There is no database \(target). There are: \(places.map(\.name).joined(separator: ", ")).")
        }
        var sources: [Place] = []
        for place in places where place.name != target {
            guard let mark = try await place.registry.asOwner({ try MoveMark.read(name, on: $0) }), mark.state != .arriving else {
                continue
            }
            if mark.state == .moved, let other = mark.other, other != target {
                throw Self.refusal(
                    "The move of \(name) to \(other) has not ended. End it first: fieldseal org move \(name) --to \(other).")
            }
            sources.append(place)
        }
        guard sources.count < 2 else {
            throw Self.refusal(
                "\(name) is in the databases \(sources.map(\.name).joined(separator: ", ")). Remove or rename one first: fieldseal doctor."
            )
        }
        guard let source = sources.first else {
            let there = try await end.registry.asOwner { try MoveMark.read(name, on: $0) }
            throw there?.state == .here
                ? Self.refusal("\(name) is in the database \(target) already. Nothing was changed.")
                : FieldsealError.unknownOrganization(name)
        }
        (self.name, self.source, self.target, self.caller) = (name, source, end, caller)
        (self.isRehearsal, self.longestPause, self.onProgress) = (isRehearsal, longestPause, onProgress)
    }

    static func refusal(_ message: String) -> FieldsealError { FieldsealError(.invalidArgument, message) }

    /// The connections of a move.
    struct Connections: Sendable {
        /// To the source. The transaction on this connection prevents other moves and key changes, and its commit is the decision.
        let from: PostgresConnection
        /// To the source. This connection reads the rows to copy, and the rows of each round.
        let reader: PostgresConnection
        /// To the target. The transaction on this connection holds the copy.
        let to: PostgresConnection

        fileprivate func rollBack() async {
            for connection in [from, reader, to] { try? await connection.run { $0.rollBack() } }
        }
    }

    /// Moves the organization, or completes a move that was interrupted after its decision (step 5).
    package func run() async throws -> Summary {
        func connect(_ place: Place) async throws -> PostgresConnection {
            try await PostgresConnection.connect(place.registry.conninfo, applicationName: Self.application)
        }
        let connections = Connections(
            from: try await connect(source), reader: try await connect(source), to: try await connect(target))
        // Writers of the organization wait while the target's statements do.
        try await connections.to.limitLocks(to: Self.lockLimit)
        // A statement waits in one of the two databases at a time.
        let watches = [
            LockWatch(.backends([await connections.to.backendID]), in: target.registry.conninfo),
            LockWatch(
                .backends([await connections.from.backendID, await connections.reader.backendID]), in: source.registry.conninfo),
        ]
        let result: Result<Summary, any Error>
        do { result = .success(try await run(connections)) } catch { result = .failure(explained(error, by: watches)) }
        // Undoes transactions that are still open after an error.
        await connections.rollBack()
        for connection in [connections.from, connections.reader, connections.to] { await connection.close() }
        return try result.get()
    }

    /// How long a statement in the target database, or the decision, waits for a lock of another transaction.
    private static let lockLimit = OrganizationRegistry.lockLimit
    /// How long dropping a copy that is not in force waits for a session that reads it.
    private static let removalLimit = Duration.seconds(60)

    /// The error, with the session that held a lock if a statement waited for one.
    private func explained(_ error: any Error, by watches: [LockWatch]) -> any Error {
        let watch = watches.first { $0.holder != nil } ?? watches[0]
        if let held = error as? HeldTables { return held.error(watch.holder) }
        guard let error = error as? PostgresError, error.state == .lockNotAvailable else { return error }
        return error.heldUp(for: Self.lockLimit, by: watch)
    }

    private func run(_ connections: Connections) async throws -> Summary {
        let mark = try await connections.from.run { try begin(on: $0) }
        var summary = Summary(organization: mark.organization, from: source.name, to: target.name)
        if mark.state == .moved {
            guard mark.other == target.name, !isRehearsal else {
                throw Self.refusal(
                    "The move of \(name) to \(mark.other ?? "") has not ended. End it first: fieldseal org move \(name) --to \(mark.other ?? "")."
                )
            }
            try await connections.from.run { $0.rollBack() }
            try await finish(mark.organization)
            return summary
        }
        try await checkKeyEncryptionKeys(of: mark.organization, connections.from, connections.to)
        let journal = MoveJournal(of: mark.organization)
        do {
            let id = UUID()
            if let start = try await copy(mark.organization, journal, id, connections, &summary) {
                try await connections.to.run { try $0.commit() }
                try await leave(mark.organization, id, connections.from)
                summary.pause = .now - start
            }
        } catch {
            await connections.rollBack()
            // If the removal fails, the doctor reports the journal, and the next move removes it.
            try? await journal.remove(at: source.registry, isLocked: false)
            throw error
        }
        if isRehearsal {
            await connections.rollBack()
            try await journal.remove(at: source.registry, isLocked: false)
        } else {
            onProgress("The copy is in force.")
            try await finish(mark.organization)
        }
        return summary
    }

    /// Opens the source's transaction. Until this transaction ends, the key can't be set, and no other move can begin.
    private func begin(on connection: isolated PostgresConnection) throws -> MoveMark {
        try connection.execute("BEGIN")
        try connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        try source.registry.begin(on: connection)
        guard let first = try MoveMark.read(name, isKept: false, on: connection) else {
            throw FieldsealError.unknownOrganization(name)
        }
        let organization = first.organization
        if first.state == .here {
            // The ledger is locked before the organization's row, in the order of a migration, which changes that row at its
            // end.
            try MigrationRunner.lockedLedger(
                of: .organization(id: organization.id, name: name, schema: organization.schema), on: connection)
        }
        try KeySetLock.take(organization, on: connection)
        // The mark is read again under the locks, because another move may have ended meanwhile.
        guard let mark = try MoveMark.read(name, on: connection) else { throw FieldsealError.unknownOrganization(name) }
        try MoveJournal(of: organization).lock(on: connection)
        return mark
    }

    /// Creates the empty schema before writers wait. First removes what an earlier move left. The earlier move has ended, because
    /// this move holds the journal's lock.
    func prepare(_ copy: MoveCopy, _ journal: MoveJournal, _ from: PostgresConnection, _ to: PostgresConnection) async throws {
        try await journal.remove(at: source.registry, isLocked: true)
        let left = try await target.registry.asOwner { try MoveMark.read(name, on: $0) }
        if let left {
            guard left.state == .arriving || left.state == .moved && left.other == source.name else {
                throw Self.refusal("\(target.name) has an organization \(name) too. Remove or rename one first: fieldseal doctor.")
            }
            try await remove(left.organization, left.state, at: target)
        }
        try await to.run { connection in
            try connection.execute("BEGIN")
            try connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
            try target.registry.begin(on: connection)
        }
        try await copy.prepare(from, to)
    }

    /// Renames the copy's schema to a name that no program looks for.
    func arrive(_ organization: Organization, _ id: UUID, on connection: isolated PostgresConnection) throws {
        try MoveMark.write(.arriving, organization, id, other: source.name, by: caller, on: connection)
        try MoveMark.hide(organization, .arriving, on: connection)
    }

    /// Commits the decision: the original is out of force, and no program finds its tables.
    func leave(_ organization: Organization, _ id: UUID, _ connection: PostgresConnection) async throws {
        do {
            try await connection.run { connection in
                try connection.execute("SET LOCAL lock_timeout = '\(Self.lockLimit.components.seconds)s'")
                try MoveMark.write(.moved, organization, id, other: target.name, by: caller, on: connection)
                try MoveMark.hide(organization, .moved, on: connection)
                try connection.commit()
            }
        } catch let error as PostgresError where error.isConnectionLoss {
            let settled = try? await source.registry.asOwner { connection in
                try connection.settleCommits()
                return try MoveMark.read(name, on: connection)
            }
            guard let mark = settled else {
                throw FieldsealError(
                    .unexpected,
                    "The connection to \(source.name) was lost while the move was committed, so it is not known which database has "
                        + "the organization now. When the database can be reached again, run fieldseal org move again."
                )
            }
            if mark.id != id { throw error }
        }
    }

    /// Puts the copy into force, if it is not in force yet, and removes the original.
    private func finish(_ organization: Organization) async throws {
        try await target.registry.asOwner { connection in
            guard let mark = try MoveMark.read(name, on: connection), mark.state == .arriving else { return }
            try MoveMark.show(organization, .arriving, on: connection)
            // The schema may contain work that was unfinished in the source database, such as a sweep.
            try SweepMarks.mark(organization, on: connection)
            try UnsealedAudit.note(organization, on: connection)
        }
        onProgress("The original is being removed.")
        try await remove(organization, .moved, at: source)
    }

    /// Removes the copy that is not in force.
    private func remove(_ organization: Organization, _ state: MoveMark.State, at place: Place) async throws {
        try await place.registry.asOwner(lockLimit: Self.removalLimit) { connection in
            guard let mark = try MoveMark.read(name, on: connection), mark.state == state else { return }
            try connection.execute("SET LOCAL fieldseal.maintenance = 'on'")
            try connection.execute("DROP SCHEMA IF EXISTS \(quoteIdentifier(MoveMark.schema(of: organization, state))) CASCADE")
            _ = try connection.query(
                """
                UPDATE config.organization SET suspended_on = now(), suspended_by = $2, removal_begun_on = now() WHERE organization_id = $1
                """, [.uuid(organization.id), .text(caller.actor)])
            try OrganizationRemoval(place.registry).deleteRows(of: organization, on: connection)
        }
    }
}
