import Foundation
import KeyManagement
import Model
import PostgresClient
public import Tenancy

/// Moves an organization to another database of its deployment.
///
/// Readers continue. Writers wait while everything is copied and compared. One commit, in the old database, decides which copy is
/// in force: before it the old one, after it the new one. However a move is interrupted, one copy is in force. Moving again then
/// completes or undoes the move.
public struct OrganizationMove: Sendable {
    /// A database of the deployment.
    public struct Place: Sendable {
        /// The database's name in the settings.
        public let name: String
        let registry: OrganizationRegistry

        public init(name: String, registry: OrganizationRegistry) {
            self.name = name
            self.registry = registry
        }
    }

    /// The result of a move.
    public struct Summary: Sendable {
        public let organization: Organization
        public let from: String
        public let to: String
        public fileprivate(set) var tables = 0
        public fileprivate(set) var rows = 0
        /// How long writers waited; nil if an earlier move was completed.
        public fileprivate(set) var pause: Duration?
    }

    let name: String
    let source: Place
    let target: Place
    let caller: Caller
    let isRehearsal: Bool
    private let onProgress: @Sendable (String) -> Void

    /// How long to wait for running writers, in attempts of ``lockTimeout``.
    private static let lockAttempts = 120
    private static let lockTimeout = "500ms"
    private static let application = "fieldseal org move"

    /// Finds the database of an organization.
    ///
    /// - Parameter places: All databases of the deployment. Each must be reachable.
    /// - Throws: ``FieldsealError`` when there is nothing to move.
    public init(
        _ name: String, among places: [Place], to target: String, isRehearsal: Bool, by caller: Caller,
        onProgress: @escaping @Sendable (String) -> Void = { _ in }
    ) async throws {
        guard let end = places.first(where: { $0.name == target }) else {
            throw Self.refusal("There is no database \(target). There are: \(places.map(\.name).joined(separator: ", ")).")
        }
        var sources: [Place] = []
        for place in places where place.name != target {
            guard let mark = try await place.registry.owning({ try MoveMark.read(name, on: $0) }), mark.state != .arriving else {
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
            let there = try await end.registry.owning { try MoveMark.read(name, on: $0) }
            throw there?.state == .here
                ? Self.refusal("\(name) is in the database \(target) already. Nothing was changed.")
                : FieldsealError.unknownOrganization(name)
        }
        (self.name, self.source, self.target, self.caller) = (name, source, end, caller)
        (self.isRehearsal, self.onProgress) = (isRehearsal, onProgress)
    }

    static func refusal(_ message: String) -> FieldsealError { FieldsealError(.invalidArgument, message) }

    /// Moves the organization. Or completes a move that was interrupted after the copy came into force.
    public func run() async throws -> Summary {
        let from = try await PostgresConnection.connect(source.registry.conninfo, applicationName: Self.application)
        let to = try await PostgresConnection.connect(target.registry.conninfo, applicationName: Self.application)
        do {
            let summary = try await run(from, to)
            await from.close()
            await to.close()
            return summary
        } catch {
            // An open transaction leaves nothing behind.
            try? await from.run { $0.rollBack() }
            try? await to.run { $0.rollBack() }
            await from.close()
            await to.close()
            throw error
        }
    }

    private func run(_ from: PostgresConnection, _ to: PostgresConnection) async throws -> Summary {
        let mark = try await from.run { try begin(on: $0) }
        var summary = Summary(organization: mark.organization, from: source.name, to: target.name)
        if mark.state == .moved {
            guard mark.other == target.name, !isRehearsal else {
                throw Self.refusal(
                    "The move of \(name) to \(mark.other ?? "") has not ended. End it first: fieldseal org move \(name) --to \(mark.other ?? "")."
                )
            }
            try await from.run { $0.rollBack() }
            try await finish(mark.organization)
            return summary
        }
        try await checkKeyEncryptionKeys(of: mark.organization, from, to)
        let copy = MoveCopy(mark.organization, source: source, target: target, caller: caller)
        try await prepare(copy, from, to)
        let start = ContinuousClock.now
        onProgress("Writers wait.")
        try await from.run { connection in
            try lockWriters(of: mark.organization, on: connection)
            try AttestedState.change(of: mark.organization, under: source.registry.kek, on: connection) { change in
                try change.append(
                    SecurityEvent(.organizationMoved, .succeeded, details: "\(source.name) to \(target.name)"), by: caller,
                    on: connection)
            }
        }
        (summary.tables, summary.rows) = try await copy.run(from, to, onProgress)
        let id = UUID()
        try await to.run { try arrive(mark.organization, id, on: $0) }
        if isRehearsal {
            summary.pause = .now - start
            try await to.run { $0.rollBack() }
            try await from.run { $0.rollBack() }
            return summary
        }
        try await to.run { try $0.commit() }
        try await leave(mark.organization, id, from)
        summary.pause = .now - start
        onProgress("The copy is in force.")
        try await finish(mark.organization)
        return summary
    }

    /// Opens the transaction in which the organization leaves. Until it ends, the key can't be set, and no other move can begin.
    private func begin(on connection: isolated PostgresConnection) throws -> MoveMark {
        try connection.execute("BEGIN")
        try connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        try source.registry.begin(on: connection)
        guard let first = try MoveMark.read(name, on: connection) else { throw FieldsealError.unknownOrganization(name) }
        try KeySetLock.take(first.organization, on: connection)
        // Once more under the lock: another move may have ended meanwhile.
        guard let mark = try MoveMark.read(name, on: connection) else { throw FieldsealError.unknownOrganization(name) }
        return mark
    }

    /// Creates the empty schema before writers wait. What an earlier move left is removed. The lock shows that it is not running.
    private func prepare(_ copy: MoveCopy, _ from: PostgresConnection, _ to: PostgresConnection) async throws {
        let left = try await target.registry.owning { try MoveMark.read(name, on: $0) }
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

    /// Takes the writers' locks in short attempts. So an idle transaction delays only the move, and no writer for long.
    private func lockWriters(of organization: Organization, on connection: isolated PostgresConnection) throws {
        let tables = try connection.query(
            "SELECT c.oid::regclass::text FROM pg_class AS c WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1",
            [.text(quoteIdentifier(organization.schema))]
        ).map { try $0.decode(0, as: String.self) }
        try connection.execute("SET LOCAL lock_timeout = '\(Self.lockTimeout)'")
        for attempt in 1...Self.lockAttempts {
            do {
                try connection.execute("SAVEPOINT writers")
                // Sessions that append events lock this row before they reach the tables.
                _ = try connection.query(
                    "SELECT 1 FROM config.attested_state WHERE organization_id = $1 FOR UPDATE", [.uuid(organization.id)])
                try connection.execute("LOCK TABLE \(tables.joined(separator: ", ")) IN SHARE ROW EXCLUSIVE MODE")
                break
            } catch let error as PostgresError where [.lockNotAvailable, .deadlock].contains(error.state) {
                guard attempt < Self.lockAttempts else { throw OrganizationRemoval.inUse(organization, "moved") }
                try connection.execute("ROLLBACK TO writers")
            }
        }
        try connection.execute("SET LOCAL lock_timeout = 0")
    }

    /// Renames the copy so that no program finds it.
    private func arrive(_ organization: Organization, _ id: UUID, on connection: isolated PostgresConnection) throws {
        try MoveMark.write(.arriving, organization, id, other: source.name, by: caller, on: connection)
        try MoveMark.hide(organization, .arriving, on: connection)
    }

    /// The decision: the original is not in force any more, and no program finds its tables.
    private func leave(_ organization: Organization, _ id: UUID, _ connection: PostgresConnection) async throws {
        do {
            try await connection.run { connection in
                try MoveMark.write(.moved, organization, id, other: target.name, by: caller, on: connection)
                try MoveMark.hide(organization, .moved, on: connection)
                try connection.commit()
            }
        } catch let error as PostgresError where error.isConnectionLoss {
            guard let mark = try? await source.registry.owning({ try MoveMark.read(name, on: $0) }) else {
                throw FieldsealError(
                    .unexpected,
                    "The connection to \(source.name) was lost in the moment of the decision. Which place is in force can be told when it is "
                        + "back: run fieldseal org move again.")
            }
            if mark.id != id { throw error }
        }
    }

    /// Puts the copy into force if it is not yet, and removes the original.
    private func finish(_ organization: Organization) async throws {
        try await target.registry.owning { connection in
            guard let mark = try MoveMark.read(name, on: connection), mark.state == .arriving else { return }
            try MoveMark.show(organization, .arriving, on: connection)
            // The schema may have unfinished work of its source.
            try SweepMarks.mark(organization, on: connection)
        }
        onProgress("The original is being removed.")
        try await remove(organization, .moved, at: source)
    }

    /// Removes the copy that is not in force.
    private func remove(_ organization: Organization, _ state: MoveMark.State, at place: Place) async throws {
        try await place.registry.owning { connection in
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
