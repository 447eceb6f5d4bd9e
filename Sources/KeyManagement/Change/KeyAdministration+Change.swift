import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

extension KeyAdministration {
    /// Changes the key. One transaction writes a new generation of all cells while the live one stays in use, and switches to
    /// the new one. Writers continue meanwhile, and wait only for a few milliseconds at its end.
    ///
    /// Before the commit, nothing has changed for any session. After the commit, every cell is under the new key.
    ///
    /// - Parameter text: The new key; nil for a generated one.
    package func changeKey(to text: String?, options: KeyChangeOptions = KeyChangeOptions()) async throws -> KeyChangeSummary {
        let newText: OrganizationKeyText
        do {
            newText = if let text { try OrganizationKeyText(new: text) } else { try OrganizationKeyText.generate() }
        } catch let error as KeyStrengthError {
            try await record(SecurityEvent(.keyRefused, .refused, details: "change: weak key"))
            throw FieldsealError(.keyValidation, error.description)
        }
        try await session.requireControl(
            of: .setKey,
            "change the key of version \(state.keyVersion) to a \(text == nil ? "generated" : "given") one"
                + (options.skipsUnreadable ? ", and lose the passwords that do not open" : ""), secret: text)
        await sweepGenerations()
        let change = KeyChange(self, text: newText, text == nil ? .generated : .chosen, isRehearsal: false, options: options)
        let summary: KeyChangeSummary
        do {
            summary = try await change.change()
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            summary = try await recordingFailure(of: .keyChanged) {
                guard let known = try await outcome(of: change.changeID, patience: Self.outcomePatience) else { throw error }
                guard case .happened(let found) = known else {
                    throw PostgresError(kind: .connection, message: "the connection broke before the change was committed")
                }
                return found
            }
        } catch {
            try await recordingFailure(of: .keyChanged) { () -> Void in throw error }
            throw error
        }
        await sweepGenerations(patience: Self.sweepPatience)
        return summary
    }

    /// Rehearses a key change: does everything except the switch, under a key that is discarded, and rolls back. Writers never wait
    /// for a switch.
    package func rehearseKeyChange(options: KeyChangeOptions = KeyChangeOptions()) async throws -> KeyRehearsalSummary {
        await sweepGenerations()
        let change = KeyChange(
            self, text: try OrganizationKeyText.generate(), .generated, isRehearsal: true, options: options)
        let summary = try await recordingFailure(of: .keyChangeRehearsed) { try await change.rehearse() }
        await sweepChange()
        try await record(
            SecurityEvent(
                .keyChangeRehearsed, .succeeded, keyVersion: state.keyVersion,
                details: "\(summary.cells) cells"
                    + (summary.unreadable.isEmpty ? "" : ", \(summary.unreadable.count) do not open")))
        return summary
    }

    /// Records a failure as a security event, then rethrows it. Records nothing if another key change was running, because this
    /// one never began.
    private func recordingFailure<Value>(of kind: SecurityEvent.Kind, _ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as FieldsealError where error.code == .setIsAlreadyRunning {
            throw error
        } catch {
            let details = (error as? FieldsealError)?.message ?? (error as? PostgresError)?.description ?? "\(type(of: error))"
            let event = SecurityEvent(kind, .failed, keyVersion: state.keyVersion, details: details)
            // A cancelled task can't run statements, so this runs in a separate task. It retries, because the database may be
            // restarting.
            await Task {
                for attempt in 0..<Self.recordAttempts {
                    if attempt > 0 { try? await Task.sleep(for: .milliseconds(250 << attempt)) }
                    do {
                        return try await record(event)
                    } catch let lost as PostgresError where lost.isConnectionLoss && lost.kind != .unknownOutcome {
                        continue
                    } catch {
                        return
                    }
                }
            }.value
            throw error
        }
    }

    /// How many times recording a failure is tried, over about seven seconds.
    private static let recordAttempts = 5

    /// How long a change waits for transactions that began before its switch. After that the service's sweep drops the old
    /// generation.
    private static let sweepPatience = Duration.seconds(2)
    /// How long to keep trying to find out the outcome after the connection broke during the commit.
    private static let outcomePatience = Duration.seconds(30)

    private enum Outcome {
        case happened(KeyChangeSummary)
        case didNotHappen
    }

    /// Finds out whether the key change with an id was committed. Needed if the connection broke during the commit.
    ///
    /// Does not decide while the lock of key changes is held, because the change's transaction may then still commit.
    ///
    /// - Returns: Nil if this can't be determined within `patience`.
    private func outcome(of changeID: UUID, patience: Duration) async throws -> Outcome? {
        let deadline = ContinuousClock.now + patience
        while ContinuousClock.now < deadline {
            let outcome = try? await deployment.pool.withConnection { connection -> Outcome? in
                try connection.settleCommits()
                return try connection.transaction {
                    try KeySetLock.take(organization, on: connection)
                    let rows = try connection.query(
                        """
                        SELECT key_version, fingerprint, cells, extract(epoch FROM duration)::float8,
                               extract(epoch FROM pause)::float8
                          FROM config.organization_key WHERE organization_id = $1 AND rotation_id = $2
                        """,
                        [.uuid(organization.id), .uuid(changeID)])
                    guard let row = rows.first else { return .didNotHappen }
                    return .happened(
                        KeyChangeSummary(
                            keyVersion: try row.decode(0), fingerprint: try row.decode(1), cells: try row.decode(2),
                            duration: .seconds(try row.decode(3, as: Double.self)),
                            pause: .seconds(try row.decode(4, as: Double.self)), quarantined: []))
                }
            }
            if let outcome = outcome.flatMap({ $0 }) { return outcome }
            try? await Task.sleep(for: .milliseconds(200))
        }
        return nil
    }

    // MARK: Conditions

    /// The version of a new key: the lowest unused version above the key in force and above all keys that this service stored in
    /// `config`. A version is used if a row in `config` or a table of cells has it. So a schema that was restored from an older
    /// dump does not reuse a version.
    ///
    /// - Throws: ``FieldsealError`` when no version is left. A row or a table that SQL made blocks only its own version, and no
    ///   lower ones.
    func nextKeyVersion(after current: OrganizationState, on connection: isolated PostgresConnection) throws -> Int {
        let rows = try connection.query(
            "SELECT key_version, fingerprint FROM config.organization_key WHERE organization_id = $1", [.uuid(organization.id)])
        let known = try rows.map { (version: try $0.decode(0, as: Int.self), fingerprint: try $0.decode(1, as: String.self)) }
        let stored = try known.filter {
            try current.grants.names(Grant.organizationKeyName(version: $0.version, fingerprint: $0.fingerprint))
        }
        let newest = max(current.keyVersion, current.attested?.keyVersion ?? 0, stored.map(\.version).max() ?? 0)
        let taken = try Set(known.map(\.version) + generations(on: connection))
        guard newest < Int(Int32.max), let next = (newest + 1...Int(Int32.max)).first(where: { !taken.contains($0) }) else {
            throw FieldsealError(.unexpected, "No version is left for another key. Nothing was changed.")
        }
        return next
    }

    /// Throws if the organization has used up its quota of key changes. Only keys in the attested list count, because SQL can
    /// insert other rows. A purged key is not in that list.
    func checkChangeQuota(after current: OrganizationState, on connection: isolated PostgresConnection) throws {
        guard let quota = deployment.policy.changeQuota else { return }
        let rows = try connection.query(
            """
            SELECT ceil(extract(epoch FROM created_on + $2 * interval '1 second' - now()))::integer, key_version, fingerprint
              FROM config.organization_key
             WHERE organization_id = $1 AND created_on > now() - $2 * interval '1 second' AND created_on <= now() AND duration IS NOT NULL
             ORDER BY created_on DESC
            """,
            [.uuid(organization.id), .double(Double(deployment.policy.quotaInterval))]
        ).filter { row in
            try current.grants.names(Grant.organizationKeyName(version: try row.decode(1), fingerprint: try row.decode(2)))
        }
        guard rows.count >= quota, quota > 0 else { return }
        throw FieldsealError(
            .changeQuotaExceeded,
            "The key may be changed \(quota) times within \(deployment.policy.quotaInterval) seconds.",
            retryAfter: max(1, try rows[quota - 1].decode(0)))
    }

    // MARK: Sweeping

    /// Drops old generations when no transaction needs them any more, and ends the announcement of an interrupted key change. If
    /// this fails, a later sweep tries again.
    ///
    /// - Parameter patience: How long to try.
    /// - Returns: True if no old generation and no announcement is left.
    @discardableResult
    package func sweepGenerations(patience: Duration = .zero) async -> Bool {
        let isQuiet = await sweepChange()
        let deadline = ContinuousClock.now + patience
        var pause = Duration.milliseconds(20)
        while true {
            if await dropGenerations() { return isQuiet }
            guard ContinuousClock.now < deadline else { return false }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(500))
        }
    }

    /// Ends the announcement of a change that failed or was interrupted. A running change holds the lock, so it is not affected.
    ///
    /// - Returns: Whether no announcement is left.
    @discardableResult
    func sweepChange() async -> Bool {
        let swept: Void? = try? await deployment.pool.withConnection { connection in
            let announced = try connection.query(
                """
                SELECT EXISTS (SELECT FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
                                WHERE c.oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace"))
                                  AND t.tgname = 'notes_change' AND t.tgenabled <> 'D')
                    OR EXISTS (SELECT FROM config.key_change WHERE organization_id = $2)
                    OR EXISTS (SELECT FROM \(organization.qualified("cell_change")))
                """, [.text(quoteIdentifier(organization.schema)), .uuid(organization.id)])
            guard try announced[0].decode(0) else { return }
            try connection.transaction {
                try KeySetLock.take(organization, on: connection)
                _ = try connection.query("SELECT \(organization.qualified("end_change"))()")
                let dead = try connection.query(
                    "DELETE FROM config.key_change WHERE organization_id = $1 RETURNING started_by, phase", [.uuid(organization.id)]
                )
                guard let row = dead.first else { return }
                // The key change's process or connections ended, so it could not record its failure itself.
                let (by, phase) = (try row.decode(0, as: String.self), try row.decode(1, as: String.self))
                try record(
                    SecurityEvent(
                        .keyChanged, .failed,
                        details: "the change of \(by) ended while \(phase), without reporting a result; its key is not in force"
                    ), on: connection)
            }
        }
        return swept != nil
    }

    /// The key versions that tables of cells are named after.
    private func generations(on connection: isolated PostgresConnection) throws -> [Int] {
        try connection.query(
            """
            SELECT DISTINCT substring(relname FROM '_cell_k([0-9]{1,10})$')::bigint FROM pg_class
            WHERE oid IN \(SchemaMembers.relations(of: "$1::text::regnamespace")) AND relkind = 'r'
              AND relname ~ '_cell_k[0-9]{1,10}$'
            """,
            [.text(quoteIdentifier(organization.schema))]
        ).map { try $0.decode(0) }
    }

    /// Drops the generations older than that of the key in force, if the schema names the attested key and this service stored that
    /// key. Otherwise SQL may have put another key into force, and an older generation may hold the cells. After `org attach` the
    /// schema may name a key that no one has; then nothing is dropped until the key is activated.
    ///
    /// - Returns: Whether no old generation is left.
    private func dropGenerations() async -> Bool {
        let dropped = try? await deployment.pool.withConnection { connection -> [Bool]? in
            let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
            let key = Grant.organizationKeyName(version: state.keyVersion, fingerprint: state.fingerprint)
            guard state.isKeyAttested, try state.grants.names(key) else { return nil }
            return try generations(on: connection).filter { $0 < state.keyVersion }.map { version in
                try connection.query(
                    "SELECT \(organization.qualified("drop_generation"))($1)", [.int32(Int32(version))])[0].decode(0, as: Bool.self)
            }
        }
        return dropped.flatMap { $0 }?.allSatisfy(\.self) ?? false
    }
}
