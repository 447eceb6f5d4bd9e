import Foundation
import Model
import PostgresClient
import Tenancy

extension OrganizationMove {
    /// How many rounds run before the last one, at most.
    private static let roundLimit = 30
    /// A round with at most this many notes counts as short, even if it took long.
    private static let shortRound = 64

    /// Copies the organization while its writers continue, until only the decision is left. Then the copy is complete in its
    /// open transaction, in a schema whose name no program looks for.
    ///
    /// - Returns: The time since which writers wait; nil after a rehearsal.
    func copy(
        _ organization: Organization, _ journal: MoveJournal, _ id: UUID, _ connections: Connections, _ summary: inout Summary
    ) async throws -> ContinuousClock.Instant? {
        let (from, reader, to) = (connections.from, connections.reader, connections.to)
        let copy = MoveCopy(organization, source: source, target: target, caller: caller)
        try await prepare(copy, journal, from, to)
        let tables = try await copy.tables(from, to)
        try await note(tables, of: organization, in: journal, on: reader)
        onProgress("Changes are noted. Rows are copied while writers go on.")
        summary.tables = tables.count
        summary.rows = try await reading(reader) { try await copy.run(tables, reader, to, onProgress) }
        let catchUp = MoveCatchUp(of: organization, journal, tables)
        let guards = try await catchUp.prepare(to)
        summary.rounds = try await rounds(catchUp, reader, to)
        if isRehearsal {
            let start = ContinuousClock.now
            try await reading(reader) {
                _ = try await catchUp.run(reader, to)
                try await conclude(copy, catchUp, guards, id, reader, to)
            }
            summary.pause = .now - start
            return nil
        }
        onProgress("Writers wait.")
        let start = try await from.run { connection in
            let start = try WriterLock.take(organization, on: connection)
            try journal.requireComplete(tables, on: connection)
            try AttestedState.change(of: organization, under: source.registry.kek, on: connection) { change in
                try change.append(
                    SecurityEvent(.organizationMoved, .succeeded, details: "\(source.name) to \(target.name)"), by: caller,
                    on: connection)
            }
            return start
        }
        _ = try await catchUp.run(from, to)
        try await conclude(copy, catchUp, guards, id, from, to)
        return start
    }

    /// Starts the journal: from now on every write is noted.
    private func note(
        _ tables: [MoveTable], of organization: Organization, in journal: MoveJournal, on reader: PostgresConnection
    ) async throws {
        try await reader.run { connection in
            try connection.transaction {
                try source.registry.begin(on: connection)
                try journal.create(tables, on: connection)
            }
            try connection.transaction {
                try source.registry.begin(on: connection)
                try WriterLock.take(organization, on: connection)
                try journal.begin(tables, on: connection)
            }
        }
    }

    /// Runs `body` in a transaction that sees the database as of one moment.
    private func reading<Value: Sendable>(_ reader: PostgresConnection, _ body: () async throws -> Value) async throws -> Value {
        try await reader.run { connection in
            try connection.execute(
                """
                BEGIN ISOLATION LEVEL REPEATABLE READ;
                SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
                SET LOCAL lock_timeout = '\(OrganizationRemoval.lockTimeout)'; \(MoveComparison.formats)
                """)
            try source.registry.begin(on: connection)
        }
        let value = try await body()
        try await reader.run { try $0.commit() }
        return value
    }

    /// Copies later writes in rounds, until a round is so short that one more may run while writers wait.
    ///
    /// - Returns: The number of rounds.
    /// - Throws: ``FieldsealError`` when rows are written faster than they can be copied.
    private func rounds(_ catchUp: MoveCatchUp, _ reader: PostgresConnection, _ to: PostgresConnection) async throws -> Int {
        var last = (notes: 0, milliseconds: 0)
        for number in 1...Self.roundLimit {
            let start = ContinuousClock.now
            let notes = try await reading(reader) { try await catchUp.run(reader, to) }
            let duration = ContinuousClock.now - start
            last = (notes, Int(duration / .milliseconds(1)))
            onProgress("Round \(number): \(notes) changes in \(last.milliseconds) ms")
            // Writers wait for the last round and for the steps after it, so the round may take half of the pause.
            if notes <= Self.shortRound || duration <= longestPause / 2 { return number }
        }
        throw Self.refusal(
            "\(name) was not moved: its rows are written faster than they can be copied. The last of \(Self.roundLimit) rounds brought "
                + "\(last.notes) changes in \(last.milliseconds) ms, which is too long a pause for writers. Nothing was changed. Move it when "
                + "it is quieter, or let writers wait longer: --longest-pause.")
    }

    /// Takes the steps after the last round, which complete the copy.
    private func conclude(
        _ copy: MoveCopy, _ catchUp: MoveCatchUp, _ guards: DeferredGuards, _ id: UUID, _ from: PostgresConnection,
        _ to: PostgresConnection
    ) async throws {
        try await catchUp.end(guards, to)
        try await copy.conclude(from, to)
        try await to.run { try arrive(copy.organization, id, on: $0) }
    }
}
