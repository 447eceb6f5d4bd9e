import CellCrypto
import Foundation
import PostgresClient

/// What a key change did.
public struct KeyChangeSummary: Sendable {
    /// The new version.
    public let keyVersion: Int
    public let fingerprint: String
    /// Cells that were sealed again.
    public let cells: Int
    public let duration: Duration
}

extension Session {
    /// Changes the key: writes a new generation of all encrypted columns and switches to it, in one transaction.
    ///
    /// Before its commit nothing has changed for anyone; after it every cell is under the new key.
    ///
    /// - Parameter text: The new key; nil for a generated one.
    public func changeKey(to text: String?) async throws -> KeyChangeSummary {
        try requireSystemAdministrator()
        let newText: OrganizationKeyText
        do {
            newText = if let text { try OrganizationKeyText(new: text) } else { try OrganizationKeyText.generate() }
        } catch let error as KeyStrengthError {
            try await record(SecurityEvent(.keyRefused, .refused, details: "change: weak key"))
            throw FieldsealError(.keyValidation, error.description)
        }
        await sweepGenerations()
        let rotationID = UUID()
        let summary: KeyChangeSummary
        do {
            summary = try await KeyChange(session: self, text: newText, isGenerated: text == nil, rotationID: rotationID).run()
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            guard let known = try await finishedChange(rotationID) else { throw error }
            summary = known
        }
        await sweepGenerations(patience: Self.sweepPatience)
        return summary
    }

    /// How long a change waits for transactions that are older than its switch, before it leaves the old generation to the
    /// service's sweeper.
    private static let sweepPatience = Duration.seconds(2)

    /// The change of that rotation id, if it was committed: what resolves a connection that broke at the commit.
    private func finishedChange(_ rotationID: UUID) async throws -> KeyChangeSummary? {
        try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT key_version, fingerprint, cells, extract(epoch FROM duration)::float8
                FROM config.organization_key WHERE organization_id = $1 AND rotation_id = $2
                """,
                [.uuid(organization.id), .uuid(rotationID)]
            )
            .first.map { row in
                KeyChangeSummary(
                    keyVersion: try row.decode(0), fingerprint: try row.decode(1), cells: try row.decode(2),
                    duration: .seconds(try row.decode(3, as: Double.self)))
            }
        }
    }

    /// Drops generations that are not the current one, as soon as no transaction is left that may still need them. What
    /// can't be dropped now is dropped by the next sweep: of the service, of a start, or of a change.
    ///
    /// - Parameter patience: How long to try.
    public func sweepGenerations(patience: Duration = .zero) async {
        let deadline = ContinuousClock.now + patience
        var pause = Duration.milliseconds(20)
        while await !sweepOnce(), ContinuousClock.now < deadline {
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .milliseconds(500))
        }
    }

    /// - Returns: Whether nothing is left to drop.
    private func sweepOnce() async -> Bool {
        let dropped = try? await deployment.pool.withConnection { connection in
            let current = try OrganizationState.read(organization.name, on: connection).keyVersion
            let rows = try connection.query(
                """
                SELECT DISTINCT substring(relname FROM '_cell_k([0-9]+)$')::integer FROM pg_class
                WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND relname ~ '_cell_k[0-9]+$'
                """,
                [.text(quoteIdentifier(organization.schema))]
            )
            return try rows.map { try $0.decode(0, as: Int.self) }.filter { $0 != current }.map { version in
                try connection.query(
                    "SELECT \(organization.qualified("drop_generation"))($1)", [.int32(Int32(version))])[0].decode(0, as: Bool.self)
            }
        }
        return dropped?.allSatisfy(\.self) ?? false
    }
}

/// The one transaction of a key change.
private struct KeyChange {
    let session: Session
    let text: OrganizationKeyText
    let isGenerated: Bool
    let rotationID: UUID

    private var organization: Organization { session.organization }
    private var deployment: Deployment { session.deployment }

    /// What the transaction finds out before it copies.
    private struct Keys: Sendable {
        let oldVersion: Int
        let old: DataKey
        let newVersion: Int
        let new: DataKey
        let salt: [UInt8]
        let iterations: Int
        let keyCheck: [UInt8]
    }

    func run() async throws -> KeyChangeSummary {
        let name = "fieldseal key change \(organization.name)"
        let writer = try await PostgresConnection.connect(deployment.conninfo, applicationName: name)
        let reader = try await PostgresConnection.connect(deployment.conninfo, applicationName: name)
        let start = ContinuousClock.now
        do {
            let keys = try await writer.run { try begin(on: $0) }
            var cells = 0
            for entity in EntityCatalog.withCells {
                cells += try await copy(entity, keys, from: reader, to: writer)
            }
            let total = cells
            try await writer.run { try finish(keys, cells: total, duration: .now - start, on: $0) }
            return KeyChangeSummary(
                keyVersion: keys.newVersion, fingerprint: keys.new.fingerprint, cells: total, duration: .now - start)
        } catch {
            await writer.rollBack()
            await writer.close()
            await reader.close()
            throw error
        }
    }

    private func begin(on connection: isolated PostgresConnection) throws -> Keys {
        try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        try connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
        try KeySetLock.take(organization, on: connection)
        let state = try OrganizationState.read(organization.name, on: connection)
        guard let old = deployment.keyring.dataKey(of: state) else {
            throw FieldsealError(
                .isInactiveCannotChange,
                "The organization needs its key (version \(state.keyVersion), fingerprint \(state.fingerprint)) before it can "
                    + "be changed: activate it first.")
        }
        try checkQuota(on: connection)
        let newVersion = try nextVersion(after: state.keyVersion, on: connection)
        let salt = try randomBytes(count: DataKey.saltLength)
        let iterations = deployment.policy.iterations
        let new = try DataKey(derivedFrom: text, salt: salt, iterations: iterations)
        let keyCheck = try KeyCheck.seal(under: new, organization: organization.id, keyVersion: UInt32(newVersion)).bytes
        guard KeyCheck.isOpened(keyCheck, by: new, organization: organization.id) else {
            throw FieldsealError(.encryptionTestFailed, "The new key did not open what it sealed. Nothing was changed.")
        }
        _ = try connection.query("SELECT \(organization.qualified("lock_generations"))()")
        _ = try connection.query(
            "SELECT \(organization.qualified("create_generation"))($1)", [.int32(Int32(newVersion))])
        return Keys(
            oldVersion: state.keyVersion, old: old, newVersion: newVersion, new: new, salt: salt, iterations: iterations,
            keyCheck: keyCheck)
    }

    private func nextVersion(after current: Int, on connection: isolated PostgresConnection) throws -> Int {
        // A schema that was restored from an older dump must not take a number that config knows already.
        let known = try connection.query(
            "SELECT coalesce(max(key_version), 0) FROM config.organization_key WHERE organization_id = $1",
            [.uuid(organization.id)])
        return max(current, try known[0].decode(0)) + 1
    }

    private func checkQuota(on connection: isolated PostgresConnection) throws {
        guard let quota = deployment.policy.changeQuota else { return }
        let rows = try connection.query(
            """
            SELECT ceil(extract(epoch FROM created_on + $2 * interval '1 second' - now()))::integer
              FROM config.organization_key
             WHERE organization_id = $1 AND created_on > now() - $2 * interval '1 second' AND duration IS NOT NULL
             ORDER BY created_on DESC
            """,
            [.uuid(organization.id), .double(Double(deployment.policy.quotaInterval))]
        )
        guard rows.count >= quota, quota > 0 else { return }
        throw FieldsealError(
            .changeQuotaExceeded,
            "The key may be changed \(quota) times within \(deployment.policy.quotaInterval) seconds.",
            retryAfter: max(1, try rows[quota - 1].decode(0)))
    }

    /// Streams one entity's cells out, opens and seals them, and streams them into the new generation.
    ///
    /// Reading and crypto are on the reader's thread, writing on the writer's: both go on at once.
    private func copy(
        _ entity: EntityDefinition,
        _ keys: Keys,
        from reader: PostgresConnection,
        to writer: PostgresConnection
    ) async throws -> Int {
        let queue = BlockingQueue(capacity: 8)
        let columns = entity.encryptedAttributes.map { quoteIdentifier($0.logicalName) }
        let id = quoteIdentifier(entity.primaryID)
        let source = organization.qualified("\(entity.cellTable)_k\(keys.oldVersion)")
        let target = organization.qualified("\(entity.cellTable)_k\(keys.newVersion)")
        async let sealed = reader.run { connection in
            do {
                let count = try reseal(entity, keys, into: queue) { each in
                    try connection.copyOut(
                        """
                        COPY (SELECT \(id), \(columns.joined(separator: ", ")) FROM \(source)
                        WHERE num_nonnulls(\(columns.joined(separator: ", "))) > 0) TO STDOUT (FORMAT binary)
                        """, each)
                }
                queue.finish()
                return count
            } catch {
                queue.finish(.failure(error))
                throw error
            }
        }
        let rows: Int
        do {
            rows = try await writer.run { connection in
                try connection.copyIn(
                    "COPY \(target) (key_version, \(id), \(columns.joined(separator: ", "))) FROM STDIN (FORMAT binary)"
                ) { write in
                    while let buffer = try queue.take() { try buffer.withUnsafeBytes { try write($0) } }
                }
            }
        } catch {
            queue.finish(.failure(error))
            _ = try? await sealed
            throw error
        }
        let count = try await sealed
        guard rows == count.rows else {
            throw FieldsealError(
                .encryption, "PostgreSQL took \(rows) of \(count.rows) rows of \(entity.logicalName). Nothing was changed.")
        }
        return count.cells
    }

    /// Buffers of this size are handed over, in bytes.
    private static let bufferLength = 1 << 18

    private func reseal(
        _ entity: EntityDefinition,
        _ keys: Keys,
        into queue: BlockingQueue,
        from source: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws -> (rows: Int, cells: Int) {
        let opener = try keys.old.makeCipher()
        let sealer = try keys.new.makeCipher()
        let names = entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
        var reader = CellCopy.Reader()
        var buffer = CellCopy.header
        buffer.reserveCapacity(Self.bufferLength + 4_096)
        var rows = 0
        var cells = 0
        try source { message in
            guard let row = try reader.row(in: message) else { return }
            buffer.append(bigEndian: Int16(2 + row.cells.count))
            buffer.append(bigEndian: Int32(4))
            buffer.append(bigEndian: Int32(keys.newVersion))
            buffer.append(bigEndian: Int32(16))
            withUnsafeBytes(of: row.id.uuid) { buffer.append(contentsOf: $0) }
            for (cell, name) in zip(row.cells, names) {
                guard let cell else {
                    buffer.append(bigEndian: Int32(-1))
                    continue
                }
                let address = CellAddress(organization: organization.id, record: row.id, attribute: name)
                do {
                    try opener.open(cell, at: address) { plaintext in
                        buffer.append(bigEndian: Int32(Cell.length(ofPlaintext: plaintext.count)))
                        try sealer.seal(plaintext, at: address, keyVersion: UInt32(keys.newVersion), appendingTo: &buffer)
                    }
                } catch is CellError {
                    throw FieldsealError(
                        .cannotDecryptExistingData,
                        "The cell of \(address) does not open, so the key was not changed. `fieldseal verify` names every such cell."
                    )
                }
                cells += 1
            }
            rows += 1
            if buffer.count >= Self.bufferLength {
                try queue.put(buffer)
                buffer.removeAll(keepingCapacity: true)
            }
        }
        try queue.put(buffer + CellCopy.trailer)
        return (rows, cells)
    }

    private func finish(
        _ keys: Keys,
        cells: Int,
        duration: Duration,
        on connection: isolated PostgresConnection
    ) throws {
        let version = UInt32(keys.newVersion)
        let id = organization.id
        _ = try connection.query("SELECT \(organization.qualified("finish_generation"))($1)", [.int32(Int32(version))])
        _ = try connection.query(
            "SELECT \(organization.qualified("switch_generation"))($1, $2, $3, $4, $5, $6, $7)",
            [
                .int32(Int32(version)), .bytes(keys.salt), .int32(Int32(keys.iterations)), .bytes(keys.keyCheck),
                .text(keys.new.fingerprint), .uuid(rotationID), .uuid(id),
            ])
        _ = try connection.query(
            "UPDATE config.organization_key SET retired_on = now() WHERE organization_id = $1 AND retired_on IS NULL",
            [.uuid(id)])
        _ = try connection.query(
            """
            INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint,
                rotation_id, origin, created_by, created_from, cells, duration)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 * interval '1 second')
            """,
            [
                .uuid(id), .int32(Int32(version)),
                .bytes(try deployment.kek.wrap(text, organization: id, keyVersion: version).bytes),
                .bytes(try deployment.kek.wrap(keys.new, organization: id, keyVersion: version).bytes),
                .text(deployment.kek.id), .text(keys.new.fingerprint), .uuid(rotationID),
                .text(isGenerated ? "generated" : "chosen"), .text(session.caller.actor), .text(session.caller.address),
                .int64(Int64(cells)), .double(duration / .seconds(1)),
            ])
        try SecurityEvent(
            .keyChanged, .succeeded, keyVersion: keys.newVersion, fingerprint: keys.new.fingerprint, details: "\(cells) cells"
        )
        .insert(for: organization, by: session.caller, on: connection)
        try connection.commit()
    }
}
