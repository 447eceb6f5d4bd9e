public import Foundation
import PostgresClient

extension Session {
    /// Creates a record, under the id that the members name or a new one.
    ///
    /// - Parameter members: A JSON object's members.
    /// - Throws: ``FieldsealError``: `.duplicateRecord` when the id is taken, and whatever the metadata refuses.
    public func create(_ entity: EntityDefinition, _ members: [JSONValue.Member]) async throws -> WriteOutcome {
        _ = try require(.create, on: entity)
        return try await create(RecordInput(entity, members, for: .create), id: nil)
    }

    /// Updates a record, or creates it under that id where the condition allows.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.concurrencyVersionMismatch`, `.duplicateRecord`, and whatever
    ///   the metadata refuses.
    public func upsert(
        _ entity: EntityDefinition,
        id: UUID,
        _ members: [JSONValue.Member],
        condition: WriteCondition = .none
    ) async throws -> WriteOutcome {
        if condition == .mustNotExist {
            _ = try require(.create, on: entity)
            return try await create(RecordInput(entity, members, for: .create), id: id)
        }
        let depth = try require(.update, on: entity)
        let input = try RecordInput(entity, members, for: .update)
        if case .id(let other) = input.values[entity.primaryID], other != id {
            throw FieldsealError(.attributeCannotBeUpdated, "The id of a record can't be updated.")
        }
        if let updated = try await update(input, id: id, condition: condition, depth: depth) { return updated }
        guard condition == .none, entity.messages.contains(.create) else { throw FieldsealError.noSuchRecord(entity, id.text) }
        _ = try require(.create, on: entity)
        do {
            return try await create(RecordInput(entity, members, for: .create), id: id)
        } catch let error as FieldsealError where error.code == .duplicateRecord {
            // Somebody else created it in between: then it is an update after all.
            guard let updated = try await update(input, id: id, condition: condition, depth: depth) else { throw error }
            return updated
        }
    }

    /// Deletes a record and its cells.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.concurrencyVersionMismatch`.
    public func delete(_ entity: EntityDefinition, id: UUID, condition: WriteCondition = .mustExist) async throws {
        let depth = try require(.delete, on: entity)
        try await deployment.pool.withConnection { connection in
            var conditions = ["\(quoteIdentifier(entity.primaryID)) = $1"]
            var parameters: [PostgresParameter] = [.uuid(id)]
            try restrict(entity, condition, depth, &conditions, &parameters)
            let result = try connection.query(
                "DELETE FROM \(organization.qualified(entity.logicalName)) WHERE \(conditions.joined(separator: " AND "))",
                parameters)
            if result.affectedRows == 0 { try refuseMissing(entity, id, condition, depth, on: connection) }
        }
    }

    // MARK: Create

    private func create(_ input: RecordInput, id: UUID?) async throws -> WriteOutcome {
        let entity = input.entity
        let named: UUID? = if case .id(let id) = input.values[entity.primaryID] { id } else { nil }
        let recordID = id ?? named ?? UUID.timeOrdered()
        try requirePasswordRight(input)
        let secrets = input.secrets.compactMapValues { $0 }
        let insert: @Sendable (CurrentKey?, isolated PostgresConnection) throws -> WriteOutcome = { key, connection in
            let origin = try origin(on: connection)
            try checkReferences(input, on: connection)
            let draft = RecordDraft(entity, id: recordID, input.values, secrets: input.secrets, origin: origin)
            var statements = [draft.statement(in: organization)]
            if let key { statements.append(try cellUpsert(entity, recordID, secrets.mapValues(Optional.some), key)) }
            if entity.logicalName == EntityDefinition.systemUser.logicalName {
                statements.append(draft.userSettings(in: organization).statement(in: organization))
            }
            let results = try connection.pipeline(statements)
            return WriteOutcome(
                id: recordID, versionNumber: Int64(try results[0][0].decode(0, as: Int.self)), isCreated: true)
        }
        do {
            if input.secrets.isEmpty { return try await deployment.pool.withConnection { try insert(nil, $0) } }
            return try await withCurrentKey { key, connection in try insert(secrets.isEmpty ? nil : key, connection) }
        } catch let error as PostgresError where error.sqlState == "23505" {
            throw FieldsealError(.duplicateRecord, "There is a \(entity.logicalName) with the id \(recordID.text) already.")
        }
    }

    private func origin(on connection: isolated PostgresConnection) throws -> RecordDraft.Origin {
        let units = try connection.query(
            """
            SELECT coalesce((SELECT businessunitid FROM \(organization.qualified("systemuser")) WHERE systemuserid = $1),
                (SELECT businessunitid FROM \(organization.qualified("businessunit")) ORDER BY createdon, businessunitid LIMIT 1))
            """, [.uuid(caller.systemUserID)])
        let unit: UUID = try units[0].decode(0)
        return RecordDraft.Origin(organization: organization, user: caller.systemUserID ?? unit, businessUnit: unit)
    }

    private func checkReferences(_ input: RecordInput, on connection: isolated PostgresConnection) throws {
        for (attribute, target, id) in input.references {
            let found = try connection.query(
                "SELECT FROM \(organization.qualified(target.logicalName)) WHERE \(quoteIdentifier(target.primaryID)) = $1",
                [.uuid(id)])
            guard !found.isEmpty else {
                throw FieldsealError(
                    .objectDoesNotExist, "\(attribute) refers to a \(target.logicalName) that does not exist: \(id.text).")
            }
        }
    }

    private func requirePasswordRight(_ input: RecordInput) throws {
        guard input.secrets.isEmpty || PrivilegeTable.maySetPasswords(caller.role) else {
            throw FieldsealError(.privilegeDenied, "The role \(caller.role.rawValue) may not set passwords.")
        }
    }

    /// Seals the values, and writes them beside each other; nil clears.
    private func cellUpsert(
        _ entity: EntityDefinition,
        _ id: UUID,
        _ secrets: [String: String?],
        _ key: CurrentKey
    ) throws -> (sql: String, parameters: [PostgresParameter]) {
        let names = secrets.keys.sorted()
        let cells = try names.map { name in
            try secrets[name].flatMap { $0 }.map { try key.seal($0, entity, name, id, organization) }
        }
        let columns = names.map(quoteIdentifier)
        let sql = """
            INSERT INTO \(organization.qualified(entity.cellTable))
                (key_version, \(quoteIdentifier(entity.primaryID)), \(columns.joined(separator: ", ")))
            VALUES ($1, $2, \(names.indices.map { "$\($0 + 3)" }.joined(separator: ", ")))
            ON CONFLICT (key_version, \(quoteIdentifier(entity.primaryID)))
            DO UPDATE SET \(columns.map { "\($0) = excluded.\($0)" }.joined(separator: ", "))
            """
        return (sql, [.int32(Int32(key.version)), .uuid(id)] + cells.map { .bytes($0) })
    }

    // MARK: Update

    /// - Returns: Nil when there is no such record.
    private func update(
        _ input: RecordInput,
        id: UUID,
        condition: WriteCondition,
        depth: Depth
    ) async throws -> WriteOutcome? {
        try requirePasswordRight(input)
        let run: @Sendable (CurrentKey?, isolated PostgresConnection) throws -> WriteOutcome? = { key, connection in
            try checkReferences(input, on: connection)
            return try update(input, id: id, condition: condition, depth: depth, key, on: connection)
        }
        if input.secrets.isEmpty { return try await deployment.pool.withConnection { try run(nil, $0) } }
        return try await withCurrentKey(run)
    }

    private func update(
        _ input: RecordInput,
        id: UUID,
        condition: WriteCondition,
        depth: Depth,
        _ key: CurrentKey?,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome? {
        let entity = input.entity
        var update = UpdateStatement(input, caller, organization)
        var conditions = ["\(quoteIdentifier(entity.primaryID)) = $\(update.bind(.uuid(id)))"]
        try restrict(entity, condition, depth, &conditions, &update.parameters)
        let (sql, parameters) = try update.statement(where: conditions, cells: key.map { try cells(input, id, $0) }, key?.version)
        let rows = try connection.query(sql, parameters)
        guard let row = rows.first else {
            if condition != .none || depth == .own { try refuseMissing(entity, id, condition, depth, on: connection) }
            return nil
        }
        return WriteOutcome(id: id, versionNumber: Int64(try row.decode(0, as: Int.self)), isCreated: false)
    }

    private func cells(_ input: RecordInput, _ id: UUID, _ key: CurrentKey) throws -> [String: [UInt8]?] {
        var cells: [String: [UInt8]?] = [:]
        for (name, secret) in input.secrets {
            cells[name] = .some(try secret.map { try key.seal($0, input.entity, name, id, organization) })
        }
        return cells
    }

    private func restrict(
        _ entity: EntityDefinition,
        _ condition: WriteCondition,
        _ depth: Depth,
        _ conditions: inout [String],
        _ parameters: inout [PostgresParameter]
    ) throws {
        if case .version(let version) = condition {
            parameters.append(.int64(version))
            conditions.append("versionnumber = $\(parameters.count)")
        }
        if depth == .own { try restrictToOwn(entity, &conditions, &parameters) }
    }

    /// Says why a write met no record: there is none (that the caller may see), or it has another version.
    private func refuseMissing(
        _ entity: EntityDefinition,
        _ id: UUID,
        _ condition: WriteCondition,
        _ depth: Depth,
        on connection: isolated PostgresConnection
    ) throws {
        guard case .version = condition else { throw FieldsealError.noSuchRecord(entity, id.text) }
        var conditions = ["\(quoteIdentifier(entity.primaryID)) = $1"]
        var parameters: [PostgresParameter] = [.uuid(id)]
        if depth == .own { try restrictToOwn(entity, &conditions, &parameters) }
        let found = try connection.query(
            "SELECT FROM \(organization.qualified(entity.logicalName)) WHERE \(conditions.joined(separator: " AND "))",
            parameters)
        guard !found.isEmpty else { throw FieldsealError.noSuchRecord(entity, id.text) }
        throw FieldsealError(
            .concurrencyVersionMismatch,
            "The \(entity.logicalName) was changed since it was read. Read it again, and repeat the change with its new ETag.")
    }
}
