import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

/// One key change: performs the steps of ``KeyChangeSteps``.
///
/// The writer's transaction makes all lasting changes. The reader's connection commits the announcement and then only reads. On the
/// publisher's connection, the reporter publishes the progress.
final class KeyChange {
    private let administration: KeyAdministration
    private let text: OrganizationKeyText
    private let origin: OrganizationKeyRow.Origin
    private let isRehearsal: Bool
    private let options: KeyChangeOptions
    let reporter: KeyChangeReporter
    let changeID = UUID()

    var organization: Organization { administration.organization }
    var deployment: Deployment { administration.deployment }
    private var toleratesUnreadable: Bool { options.skipsUnreadable || isRehearsal }

    private var cells = 0
    private var rows: [String: Int] = [:]
    private var unreadable: [UnreadableCell] = []
    private var pause = Duration.zero
    private var lastCatchUp = Duration.zero

    /// The keys and other data that the transaction prepares before it copies cells.
    private struct Preparation: Sendable {
        let keys: KeyPair
        let newKey: GenerationKey
        let backend: Int32
        let walStart: Int
    }

    init(
        _ administration: KeyAdministration, text: OrganizationKeyText, _ origin: OrganizationKeyRow.Origin, isRehearsal: Bool,
        options: KeyChangeOptions
    ) {
        self.administration = administration
        self.text = text
        self.origin = origin
        self.isRehearsal = isRehearsal
        self.options = options
        reporter = KeyChangeReporter(administration, changeID: changeID, onProgress: options.onProgress)
    }

    /// Runs the change to its commit.
    ///
    /// - Throws: An error before the commit, when nothing has changed; or `PostgresError` of kind `unknownOutcome` when the
    ///   connection broke at the commit.
    func change() async throws -> KeyChangeSummary {
        let start = ContinuousClock.now
        return try await run { preparation, writer in
            try await writer.run { try $0.commit() }
            return KeyChangeSummary(
                keyVersion: preparation.keys.newVersion, fingerprint: preparation.keys.new.fingerprint, cells: self.cells,
                duration: .now - start, pause: self.pause,
                quarantined: self.unreadable.map { $0.description(oldVersion: preparation.keys.oldVersion) })
        }
    }

    /// Does everything except the switch, and rolls back.
    func rehearse() async throws -> KeyRehearsalSummary {
        let start = ContinuousClock.now
        return try await run { preparation, writer in
            let walEnd = try await writer.run { try Self.walPosition(on: $0) }
            await self.forgetProgress()
            await writer.rollBack()
            return KeyRehearsalSummary(
                cells: self.cells, duration: .now - start, walBytes: walEnd - preparation.walStart,
                lastCatchUp: self.lastCatchUp,
                unreadable: self.unreadable.map { $0.description(oldVersion: preparation.keys.oldVersion) })
        }
    }

    // MARK: Steps

    private func run<Summary>(
        _ conclude: (Preparation, PostgresConnection) async throws -> Summary
    ) async throws -> Summary {
        let name = "fieldseal key change \(organization.name)"
        // The organization is marked for the sweep before the announcement, so that a server sweeps the announcement if this
        // process is killed.
        try await deployment.sweepMarks.ensure(organization, in: deployment.pool)
        func connect() async throws -> PostgresConnection {
            try await PostgresConnection.connect(deployment.conninfo, applicationName: String(name.prefix(63)))
        }
        let (writer, reader, publisher) = (try await connect(), try await connect(), try await connect())
        let summary: Summary
        do {
            let preparation = try await prepare(on: writer)
            try await register(preparation, on: reader)
            let publishing = Task { [reporter] in await reporter.run(on: publisher) }
            do {
                try await perform(preparation, reader: reader, writer: writer)
                summary = try await conclude(preparation, writer)
            } catch {
                publishing.cancel()
                await publishing.value
                throw error
            }
            publishing.cancel()
            await publishing.value
        } catch {
            let cause = await explained(error)
            // The lock is still held here. So a sweep can't mistake this change for an interrupted one and record its failure a
            // second time.
            await forgetProgress()
            await writer.rollBack()
            for connection in [writer, reader, publisher] { await connection.close() }
            await administration.sweepChange()
            throw cause
        }
        for connection in [writer, reader, publisher] { await connection.close() }
        return summary
    }

    private func perform(_ preparation: Preparation, reader: PostgresConnection, writer: PostgresConnection) async throws {
        var steps = KeyChangeSteps(patience: deployment.policy.patience, isRehearsal: isRehearsal)
        var step = steps.first
        while step != .conclude {
            try reporter.check()
            let start = ContinuousClock.now
            let outcome = try await perform(step, preparation, reader: reader, writer: writer)
            do throws(KeyChangeSteps.Failure) {
                step = try steps.next(after: outcome, waited: .now - start)
            } catch .heldUp {
                throw Self.heldUp(for: deployment.policy.patience, by: await holder())
            } catch .outrun {
                throw FieldsealError(
                    .encryption,
                    "The key was not changed: cells were written faster than they could be encrypted again. "
                        + "Try again when fewer passwords are written.")
            }
        }
        try reporter.check()
    }

    private func perform(
        _ step: KeyChangeSteps.Step,
        _ preparation: Preparation,
        reader: PostgresConnection,
        writer: PostgresConnection
    ) async throws -> KeyChangeSteps.Outcome {
        switch step {
        case .announce(let pause):
            reporter.enter(.announcing)
            try await Task.sleep(for: pause)
            return try await announce(on: reader)
        case .backfill:
            reporter.enter(.copying)
            try await backfill(preparation.keys, from: reader, to: writer)
            return .done
        case .buildKeys:
            reporter.enter(.indexing)
            try await buildKeys(preparation.keys, on: writer)
            return .done
        case .catchUp:
            reporter.enter(.catchingUp)
            let start = ContinuousClock.now
            var catchUp = catchUp(preparation.keys)
            let count: Int
            (count, catchUp) = try await writer.run { [catchUp] connection in
                var catchUp = catchUp
                return (try catchUp.run(on: connection), catchUp)
            }
            keep(catchUp)
            lastCatchUp = .now - start
            return .caughtUp(count)
        case .switchOver(let pause):
            reporter.enter(.switching)
            try await Task.sleep(for: pause)
            return try await switchOver(preparation, on: writer)
        case .conclude: return .done
        }
    }

    private func catchUp(_ keys: KeyPair) -> CellCatchUp {
        CellCatchUp(organization: organization, keys: keys, toleratesUnreadable: toleratesUnreadable, rows: rows)
    }

    private func keep(_ catchUp: CellCatchUp) {
        rows = catchUp.rows
        let known = Set(unreadable.map(\.address))
        unreadable += catchUp.unreadable.filter { !known.contains($0.address) }
    }

    // MARK: Before the copy

    private func prepare(on writer: PostgresConnection) async throws -> Preparation {
        let (text, isRehearsal, changeID) = (text, isRehearsal, changeID)
        let (administration, organization, deployment) = (administration, organization, deployment)
        let version = options.version
        let preparation = try await writer.run { connection in
            try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            try connection.execute(
                """
                SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = 0;
                SET LOCAL maintenance_work_mem = '128MB'
                """)
            try KeySetLock.take(organization, on: connection)
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            guard version == nil || version == state.keyVersion else { throw Self.otherKey }
            guard let old = deployment.keyring.dataKey(of: state) else {
                throw FieldsealError(
                    .isInactiveCannotChange,
                    "The organization needs its key (version \(state.keyVersion), fingerprint \(state.fingerprint)) before the "
                        + "key can be changed. Activate the key first.")
            }
            if !isRehearsal { try administration.checkChangeQuota(after: state, on: connection) }
            let newVersion = try administration.nextKeyVersion(after: state, on: connection)
            let salt = try randomBytes(count: DataKey.saltLength)
            let iterations = deployment.policy.iterations
            let new = try DataKey(derivedFrom: text, salt: salt, iterations: iterations)
            let keyCheck = try KeyCheck.seal(under: new, organization: organization.id, keyVersion: UInt32(newVersion)).bytes
            guard KeyCheck.isOpened(keyCheck, by: new, organization: organization.id) else {
                throw FieldsealError(.encryptionTestFailed, "The new key did not open what it sealed. Nothing was changed.")
            }
            return Preparation(
                keys: KeyPair(oldVersion: state.keyVersion, old: old, newVersion: newVersion, new: new),
                newKey: GenerationKey(
                    version: newVersion, salt: salt, iterations: iterations, keyCheck: keyCheck, fingerprint: new.fingerprint,
                    changeID: changeID),
                backend: connection.backendID, walStart: try Self.walPosition(on: connection))
        }
        try await createGeneration(preparation, on: writer)
        return preparation
    }

    /// Makes the tables of the new key version. Waits for an open transaction that has made tables of the same names.
    private func createGeneration(_ preparation: Preparation, on writer: PostgresConnection) async throws {
        let (organization, deployment, timeout) = (organization, deployment, Self.tablesTimeout)
        let (version, backend) = (preparation.keys.newVersion, preparation.backend)
        let blocker = Task { @Sendable in
            try await Task.sleep(for: timeout - .seconds(1))
            return await Self.blocker(of: backend, in: deployment)
        }
        defer { blocker.cancel() }
        let outcome = try await writer.run { connection in
            try connection.execute("SET LOCAL lock_timeout = '\(timeout.components.seconds)s'")
            let outcome = try Self.unlessHeldUp {
                _ = try connection.query(
                    "SELECT \(organization.qualified("create_generation"))($1)", [.int32(Int32(version))])
            }
            if outcome == .done { try connection.execute("SET LOCAL lock_timeout = 0") }
            return outcome
        }
        if outcome != .done { throw Self.heldUp(for: timeout, by: try await blocker.value) }
    }

    /// The error for a key change if another key was put into force after it began.
    static let otherKey = FieldsealError(.encryption, "Another key was put in force meanwhile. Nothing was changed.")

    private static func walPosition(on connection: isolated PostgresConnection) throws -> Int {
        try connection.query("SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")[0].decode(0)
    }

    /// Makes the change known to other servers, and replaces the row of an earlier interrupted change.
    private func register(_ preparation: Preparation, on reader: PostgresConnection) async throws {
        let (organization, changeID, actor) = (organization, changeID, administration.caller.actor)
        let columns = EntityCatalog.withCells.map { entity in
            let partition = organization.qualified("\(entity.cellTable)_k\(preparation.keys.oldVersion)")
            return "pg_stat_get_live_tuples('\(partition)'::regclass) * \(entity.encryptedAttributes.count)"
        }
        let total = try await reader.run { connection in
            let total: Int = try connection.query("SELECT (\(columns.joined(separator: " + ")))::bigint")[0].decode(0)
            _ = try connection.query(
                """
                INSERT INTO config.key_change (organization_id, rotation_id, phase, total, started_by, backend)
                VALUES ($1, $2, 'announcing', nullif($3, 0), $4, $5)
                ON CONFLICT (organization_id) DO UPDATE SET rotation_id = excluded.rotation_id, phase = excluded.phase,
                    cells = 0, total = excluded.total, started_on = now(), updated_on = now(), started_by = excluded.started_by,
                    backend = excluded.backend, cancelled_by = NULL
                """,
                [.uuid(organization.id), .uuid(changeID), .int64(Int64(total)), .text(actor), .int32(preparation.backend)])
            return total
        }
        reporter.expect(total > 0 ? total : nil)
    }

    /// How long one attempt waits for each table's lock. Writers that come later queue behind the attempt.
    private static let lockTimeout = "20ms"
    /// How long making the tables of a key version waits for an open transaction that has made tables of the same names.
    private static let tablesTimeout = Duration.seconds(10)
    /// How long moving a cell to quarantine waits for a record that another transaction is changing. Meanwhile only writers of
    /// that record wait.
    private static let quarantineTimeout = "2s"

    private func announce(on reader: PostgresConnection) async throws -> KeyChangeSteps.Outcome {
        let organization = organization
        return try await reader.run { connection in
            try Self.unlessHeldUp {
                try connection.transaction {
                    try connection.execute("SET LOCAL lock_timeout = '\(Self.lockTimeout)'; SET LOCAL statement_timeout = 0")
                    _ = try connection.query("SELECT \(organization.qualified("announce_change"))()")
                }
            }
        }
    }

    private static func unlessHeldUp(_ body: () throws -> Void) throws -> KeyChangeSteps.Outcome {
        do {
            try body()
            return .done
        } catch let error as PostgresError where error.state == .lockNotAvailable || error.state == .deadlock {
            return .heldUp
        }
    }

    // MARK: The copy

    private func backfill(_ keys: KeyPair, from reader: PostgresConnection, to writer: PostgresConnection) async throws {
        try await reader.run { try $0.execute("SET statement_timeout = 0") }
        for entity in EntityCatalog.withCells {
            let outcome = try await CellBackfill(
                entity: entity, organization: organization, keys: keys, toleratesUnreadable: toleratesUnreadable,
                reporter: reporter
            )
            .run(from: reader, to: writer)
            rows[entity.logicalName] = outcome.rows
            cells += outcome.cells
            unreadable += outcome.unreadable
        }
    }

    private func buildKeys(_ keys: KeyPair, on writer: PostgresConnection) async throws {
        let (organization, rows) = (organization, rows)
        try await writer.run { connection in
            _ = try connection.query(
                "SELECT \(organization.qualified("finish_generation"))($1)", [.int32(Int32(keys.newVersion))])
            for entity in EntityCatalog.withCells {
                let partition = organization.qualified("\(entity.cellTable)_k\(keys.newVersion)")
                let count: Int = try connection.query("SELECT count(*) FROM \(partition)")[0].decode(0)
                guard count == rows[entity.logicalName] else {
                    throw FieldsealError(
                        .encryption, "\(partition) has \(count) rows and not \(rows[entity.logicalName] ?? 0). Nothing was changed."
                    )
                }
            }
        }
    }

    // MARK: The switch

    private func switchOver(_ preparation: Preparation, on writer: PostgresConnection) async throws -> KeyChangeSteps.Outcome {
        let cells = cells
        let row = try OrganizationKeyRow(
            text, preparation.keys.new, version: preparation.keys.newVersion, of: organization.id, changeID: changeID,
            origin: origin, under: administration.session.kek, by: administration.caller)
        let statements = GenerationSwitch(
            organization: organization, caller: administration.caller, kek: administration.session.kek, keys: preparation.keys,
            newKey: preparation.newKey, row: row, unreadable: unreadable)
        let before = catchUp(preparation.keys)
        let (outcome, after, pause) = try await writer.run { connection in
            var catchUp = before
            var pause = Duration.zero
            try connection.execute("SAVEPOINT switch_over; SET LOCAL lock_timeout = '\(Self.quarantineTimeout)'")
            let outcome = try Self.unlessHeldUp {
                // The cells are moved before the tables are locked, because moving many cells takes time.
                try statements.quarantine(statements.unreadable, on: connection)
                try connection.execute("SET LOCAL lock_timeout = '\(Self.lockTimeout)'")
                _ = try connection.query("SELECT \(statements.organization.qualified("lock_generations"))()")
                let start = ContinuousClock.now
                while try catchUp.run(on: connection) > 0 {}
                try statements.run(cells: cells, alsoUnreadable: catchUp.unreadable, heldSince: start, on: connection)
                pause = .now - start
            }
            if outcome == .heldUp {
                try connection.execute("ROLLBACK TO SAVEPOINT switch_over")
                catchUp = before
            }
            return (outcome, catchUp, pause)
        }
        if outcome == .done {
            keep(after)
            self.pause = pause
        }
        return outcome
    }
}
