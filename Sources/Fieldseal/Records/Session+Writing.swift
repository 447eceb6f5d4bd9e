public import Foundation
import PostgresClient

/// One write of a record, with a client's own values.
public enum RecordWrite: Sendable {
    /// Creates a record, under the id that is given, or that the members name, or a new one.
    case create(EntityDefinition, id: UUID? = nil, [JSONValue.Member])
    /// Updates a record, or creates it under that key where the condition allows.
    case upsert(EntityDefinition, RecordKey, [JSONValue.Member], WriteCondition = .none)
    /// Deletes a record and its cells.
    case delete(EntityDefinition, RecordKey, WriteCondition = .mustExist)
}

extension Session {
    /// Does one write.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.concurrencyVersionMismatch`, `.duplicateRecord`,
    ///   `.privilegeDenied`, `.keyRequired`, and whatever the metadata refuses.
    @discardableResult
    public func write(_ write: RecordWrite) async throws -> WriteOutcome { try await self.write([write])[0] }

    /// Does several writes in one transaction: all of them or none.
    ///
    /// - Throws: ``FieldsealError`` of the first write that can't be done.
    public func write(_ writes: [RecordWrite]) async throws -> [WriteOutcome] {
        let prepared = try writes.map { try PreparedWrite($0, for: self) }
        guard !prepared.isEmpty else { return [] }
        var attempt = 1
        while true {
            do {
                guard prepared.contains(where: \.needsKey) else { return try await run(prepared, nil) }
                defer { deployment.pendingEvents.note(organization) }
                return try await withCurrentKey { try await run(prepared, $0) }
            } catch let error as PostgresError where error.sqlState == "23505" && attempt < Self.upsertAttempts {
                // Somebody else created a record in between that an upsert was to create: then it is an update after all.
                attempt += 1
            } catch let error as PostgresError where error.sqlState == "23505" {
                throw FieldsealError(.duplicateRecord, "There is a record with this id already.")
            } catch let error as PostgresError where error.sqlState.hasPrefix("22") {
                throw FieldsealError(.payloadDoesNotFit, "A value is out of its type's range.")
            }
        }
    }

    private static let upsertAttempts = 3

    private func run(_ writes: [PreparedWrite], _ key: CurrentKey?) async throws -> [WriteOutcome] {
        if writes.count == 1, let outcome = try await writes[0].runShared(key) { return [outcome] }
        return try await deployment.pool.withConnection { connection in
            guard writes.count > 1 else {
                if !writes[0].isOneStep { try confirm(on: connection) }
                return [try writes[0].run(key, on: connection)]
            }
            return try connection.transaction {
                try confirm(on: connection)
                return try writes.map { try $0.run(key, on: connection) }
            }
        }
    }
}

/// A write whose values and privileges were checked, as far as that needs no database.
private struct PreparedWrite: Sendable {
    private let session: Session
    private let entity: EntityDefinition
    private let action: Action
    /// What belongs to an e-mail.
    private var parts = EmailParts()
    let needsKey: Bool

    private enum Action {
        case create(RecordInput, UUID)
        case upsert(RecordInput, RecordKey, [JSONValue.Member], WriteCondition, Depth)
        case delete(RecordKey, WriteCondition, Depth)
    }

    private var organization: Organization { session.organization }
    private var caller: Caller { session.caller }

    /// Whether nothing is read before the write itself.
    var isOneStep: Bool {
        switch action {
        case .create(let input, _): input.references.isEmpty && !DisabledUsers.isTouched(by: input)
        case .upsert(let input, .id, _, _, _): input.references.isEmpty && !parts.namesParties
        default: false
        }
    }

    init(_ write: RecordWrite, for session: Session) throws {
        self.session = session
        switch write {
        case .create(let entity, let id, let members):
            self.entity = entity
            _ = try session.require(.create, on: entity)
            let input = try RecordInput(entity, Self.own(entity, members, &parts), for: .create)
            action = .create(input, Self.id(id, input))
            needsKey = !input.secrets.isEmpty
            try requireRights(input)
        case .upsert(let entity, let key, let members, .mustNotExist):
            self.entity = entity
            _ = try session.require(.create, on: entity)
            let input = try RecordInput(entity, Self.own(entity, key.members + members, &parts), for: .create)
            if case .id(let id) = key { action = .create(input, id) } else { action = .create(input, Self.id(nil, input)) }
            needsKey = !input.secrets.isEmpty
            try requireRights(input)
        case .upsert(let entity, let key, let members, let condition):
            self.entity = entity
            let depth = try session.require(.update, on: entity)
            let members = try Self.own(entity, members, &parts)
            let input = try RecordInput(entity, members, for: .update)
            guard parts.attachments.isEmpty else {
                throw FieldsealError(
                    .invalidArgument,
                    "Attachments are created with their e-mail; after that they can be changed and deleted one by one.")
            }
            if case .id(let other) = input.values[entity.primaryID], case .id(let id) = key, other != id {
                throw FieldsealError(.attributeCannotBeUpdated, "The id of a record can't be updated.")
            }
            _ = try key.filter(entity)
            action = .upsert(input, key, members, condition, depth)
            needsKey = !input.secrets.isEmpty
            try requireRights(input)
            if input.values["ownerid"] != nil || input.references.contains(where: { $0.attribute == "ownerid" }) {
                _ = try session.require(.assign, on: entity)
            }
        case .delete(let entity, let key, let condition):
            self.entity = entity
            let depth = try session.require(.delete, on: entity)
            _ = try key.filter(entity)
            action = .delete(key, condition, depth)
            needsKey = false
        }
    }

    /// The members of a record itself; what belongs to others goes into `parts`.
    private static func own(_ entity: EntityDefinition, _ members: [JSONValue.Member], _ parts: inout EmailParts)
        throws(FieldsealError)
        -> [JSONValue.Member]
    {
        guard entity.logicalName == EntityDefinition.email.logicalName else { return members }
        let (email, others) = try EmailParts.split(members)
        parts = others
        return email
    }

    private static func id(_ id: UUID?, _ input: RecordInput) -> UUID {
        let named: UUID? = if case .id(let id) = input.values[input.entity.primaryID] { id } else { nil }
        return id ?? named ?? UUID.timeOrdered()
    }

    private func requireRights(_ input: RecordInput) throws {
        guard input.secrets.isEmpty || PrivilegeTable.maySetPasswords(caller.role) else {
            throw FieldsealError(.privilegeDenied, "The role \(caller.role.rawValue) may not set passwords.")
        }
    }

    func run(_ key: Session.CurrentKey?, on connection: isolated PostgresConnection) throws -> WriteOutcome {
        switch action {
        case .create(let input, let id):
            do {
                return try create(input, id, key, on: connection)
            } catch let error as PostgresError where error.sqlState == "23505" {
                throw duplicate(id)
            }
        case .upsert(let input, let recordKey, let members, let condition, let depth):
            return try upsert(input, recordKey, members, condition, depth, key, on: connection)
        case .delete(let recordKey, let condition, let depth): return try delete(recordKey, condition, depth, on: connection)
        }
    }

    // MARK: Create

    /// Creates a record along with what others write, where nothing has to be read before.
    ///
    /// - Returns: Nil when nothing was done, and a connection of one's own is the way.
    func runShared(_ key: Session.CurrentKey?) async throws -> WriteOutcome? {
        guard case .create(let input, let id) = action, isOneStep, let origin else { return nil }
        do {
            return try await session.runShared(try statements(input, id, origin, key)).map { try outcome($0, id) }
        } catch let error as PostgresError where error.sqlState == "23505" {
            throw duplicate(id)
        }
    }

    private func create(
        _ input: RecordInput,
        _ id: UUID,
        _ key: Session.CurrentKey?,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome {
        let input = try resolveReferences(input, on: connection)
        let statements = try statements(input, id, try origin ?? origin(on: connection), key)
        return try DisabledUsers.attesting(input, id, session, on: connection) {
            try outcome(try session.run(statements, on: connection), id)
        }
    }

    private func statements(
        _ input: RecordInput,
        _ id: UUID,
        _ origin: RecordDraft.Origin,
        _ key: Session.CurrentKey?
    ) throws -> [(sql: String, parameters: [PostgresParameter])] {
        let secrets = input.secrets.compactMapValues { $0 }
        let draft = RecordDraft(entity, id: id, input.values, secrets: input.secrets, origin: origin)
        var statements = [draft.statement(in: organization)]
        if let key, !secrets.isEmpty { statements += try sealed(id, secrets, key) }
        if entity.logicalName == EntityDefinition.systemUser.logicalName {
            statements.append(draft.userSettings(in: organization).statement(in: organization))
        }
        if let mailbox = draft.mailbox(in: organization) { statements += mailbox }
        return statements + parts.statements(of: id, in: organization)
    }

    private func outcome(_ results: [PostgresResult], _ id: UUID) throws -> WriteOutcome {
        WriteOutcome(id: id, versionNumber: Int64(try results[0][0].decode(0, as: Int.self)), isCreated: true)
    }

    private func duplicate(_ id: UUID) -> FieldsealError {
        FieldsealError(.duplicateRecord, "There is a \(entity.logicalName) with the id \(id.text) already.")
    }

    /// The caller's place in the organization, if that is known.
    private var origin: RecordDraft.Origin? {
        guard let unit = session.state.callersUnit, let user = caller.systemUserID else { return nil }
        return RecordDraft.Origin(organization: organization, user: user, businessUnit: unit)
    }

    private func origin(on connection: isolated PostgresConnection) throws -> RecordDraft.Origin {
        let units = try connection.query(
            "SELECT businessunitid FROM \(organization.qualified("businessunit")) ORDER BY createdon, businessunitid LIMIT 1")
        let unit: UUID = try units[0].decode(0)
        return RecordDraft.Origin(organization: organization, user: caller.systemUserID ?? unit, businessUnit: unit)
    }

    /// Puts the ids of what lookups refer to into the values.
    private func resolveReferences(_ input: RecordInput, on connection: isolated PostgresConnection) throws -> RecordInput {
        var input = input
        for (attribute, target, key) in input.references {
            let found = try ids(of: target, key, on: connection)
            guard let id = found.first else {
                throw FieldsealError(.objectDoesNotExist, "\(attribute) refers to a \(target.logicalName) that does not exist.")
            }
            try key.check(target, found.count, isAmbiguous: found.count > 1)
            input.resolve(attribute, id)
        }
        return input
    }

    private func ids(of target: EntityDefinition, _ key: RecordKey, on connection: isolated PostgresConnection) throws -> [UUID] {
        var statement = StatementBuilder(organization, caller)
        let id = target.idColumn
        let condition: String
        switch key {
        case .id(let value): condition = "\(id) = \(statement.bind(.uuid(value)))"
        case .alternate(let values):
            _ = try key.filter(target)
            condition = try values.map { name, value in
                guard let attribute = target[name] else { throw QueryScope.unknown(entity: name) }
                let bound = statement.bind(try attribute.type.value(of: value, for: attribute), attribute.type)
                return attribute.type.isText ? "lower(\(quoteIdentifier(name))) = \(bound)" : "\(quoteIdentifier(name)) = \(bound)"
            }.joined(separator: " AND ")
        }
        let rows = try connection.query(
            "SELECT \(id) FROM \(organization.qualified(target.logicalName)) WHERE \(condition) LIMIT 2", statement.parameters)
        return try rows.map { try $0.decode(0) }
    }

    /// Seals the values, writes them beside each other, and records that they were set.
    private func sealed(_ id: UUID, _ secrets: [String: String], _ key: Session.CurrentKey) throws -> [(
        sql: String, parameters: [PostgresParameter]
    )] {
        let names = secrets.keys.sorted()
        let cells = try names.map { name in try secrets[name].map { try key.seal($0, entity, name, id, organization) } }
        let sql = """
            INSERT INTO \(organization.qualified(entity.cellTable))
                (key_version, \(entity.idColumn), \(names.map(quoteIdentifier).joined(separator: ", ")))
            VALUES ($1, $2, \(names.indices.map { "$\($0 + 3)" }.joined(separator: ", ")))
            """
        let parameters: [PostgresParameter] = [.int32(Int32(key.version)), .uuid(id)] + cells.map { .bytes($0) }
        return [(sql, parameters), try PasswordEvents(entity, id, secrets, in: session).insertion()]
    }

    // MARK: Update

    private func upsert(
        _ input: RecordInput,
        _ recordKey: RecordKey,
        _ members: [JSONValue.Member],
        _ condition: WriteCondition,
        _ depth: Depth,
        _ key: Session.CurrentKey?,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome {
        let resolved = try resolveReferences(input, on: connection)
        let id: UUID?
        switch recordKey {
        case .id(let value): id = value
        case .alternate:
            let found = try ids(of: entity, recordKey, on: connection)
            if condition != .none || found.count > 1 {
                try recordKey.check(entity, found.count, isAmbiguous: found.count > 1)
            }
            id = found.first
        }
        if let id, let updated = try update(resolved, id: id, condition, depth, key, on: connection) { return updated }
        guard condition == .none, entity.messages.contains(.create) else {
            throw FieldsealError.noSuchRecord(entity, id?.text ?? "")
        }
        _ = try session.require(.create, on: entity)
        let new = try RecordInput(entity, recordKey.members + members, for: .create)
        return try create(new, Self.id(id, new), key, on: connection)
    }

    /// - Returns: Nil when there is no such record.
    private func update(
        _ input: RecordInput,
        id: UUID,
        _ condition: WriteCondition,
        _ depth: Depth,
        _ key: Session.CurrentKey?,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome? {
        if parts.namesParties {
            return try connection.atomically {
                let outcome = try updateRow(input, id: id, condition, depth, key, on: connection)
                if outcome != nil { try parts.replace(in: id, of: organization, on: connection) }
                return outcome
            }
        }
        guard let destination = MailDestination(of: entity), destination.isTouched(by: input) else {
            return try DisabledUsers.attesting(input, id, session, on: connection) {
                try updateRow(input, id: id, condition, depth, key, on: connection)
            }
        }
        return try connection.atomically {
            try session.confirm(on: connection)
            let moves = try destination.moves(input, id, in: organization, on: connection)
            guard !moves || caller.role == .systemAdministrator else {
                throw FieldsealError(
                    .privilegeDenied,
                    "This record holds a password, which would be sent to another server: set the password anew along with the server, or ask a "
                        + "System Administrator.")
            }
            let outcome = try updateRow(input, id: id, condition, depth, key, on: connection)
            if moves, outcome != nil {
                try SecurityEvent(.mailDestinationChanged, .succeeded, details: "\(entity.logicalName) \(id.text)")
                    .insert(for: organization, by: caller, under: session.deployment.kek, on: connection)
            }
            return outcome
        }
    }

    private func updateRow(
        _ input: RecordInput,
        id: UUID,
        _ condition: WriteCondition,
        _ depth: Depth,
        _ key: Session.CurrentKey?,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome? {
        var update = UpdateStatement(input, caller, organization)
        var conditions = ["\(entity.idColumn) = $\(update.bind(.uuid(id)))"]
        restrict(condition, depth, .write, &conditions, &update.parameters)
        var cells: [String: [UInt8]?]?
        if let key, !input.secrets.isEmpty {
            cells = try input.secrets.reduce(into: [:]) { cells, secret in
                cells?[secret.key] = .some(try secret.value.map { try key.seal($0, entity, secret.key, id, organization) })
            }
        }
        let (sql, parameters) = try update.statement(
            where: conditions, cells: cells, key?.version, PasswordEvents(entity, id, input.secrets, in: session))
        let rows = try session.run([(sql, parameters)], on: connection)[0]
        guard let row = rows.first else {
            if condition != .none || depth != .organization { try refuseMissing(id, condition, depth, on: connection) }
            return nil
        }
        return WriteOutcome(id: id, versionNumber: Int64(try row.decode(0, as: Int.self)), isCreated: false)
    }

    // MARK: Delete

    private func delete(
        _ recordKey: RecordKey,
        _ condition: WriteCondition,
        _ depth: Depth,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome {
        let id: UUID
        switch recordKey {
        case .id(let value): id = value
        case .alternate:
            let found = try ids(of: entity, recordKey, on: connection)
            try recordKey.check(entity, found.count, isAmbiguous: found.count > 1)
            id = found[0]
        }
        var conditions = ["\(entity.idColumn) = $1"]
        var parameters: [PostgresParameter] = [.uuid(id)]
        restrict(condition, depth, .delete, &conditions, &parameters)
        // The row that is gone can't tell the audit who deleted it.
        let result = try connection.pipeline([
            ("SELECT set_config('fieldseal.user', $1, true)", [.text(caller.systemUserID?.text ?? "")]),
            (
                "DELETE FROM \(organization.qualified(entity.logicalName)) WHERE \(conditions.joined(separator: " AND "))",
                parameters
            ),
        ])[1]
        if result.affectedRows == 0 { try refuseMissing(id, condition, depth, on: connection) }
        return WriteOutcome(id: id, versionNumber: 0, isCreated: false)
    }

    // MARK: Conditions

    private func restrict(
        _ condition: WriteCondition,
        _ depth: Depth,
        _ right: AccessRights,
        _ conditions: inout [String],
        _ parameters: inout [PostgresParameter]
    ) {
        if case .version(let version) = condition {
            parameters.append(.int64(version))
            conditions.append("versionnumber = $\(parameters.count)")
        }
        let own = AccessRule(entity, organization, caller).condition(depth, right, organization.qualified(entity.logicalName)) {
            parameters.append($0)
            return "$\(parameters.count)"
        }
        if let own { conditions.append(own) }
    }

    /// Says why a write met no record: there is none (that the caller may see), or it has another version.
    private func refuseMissing(
        _ id: UUID,
        _ condition: WriteCondition,
        _ depth: Depth,
        on connection: isolated PostgresConnection
    ) throws {
        guard case .version = condition else { throw FieldsealError.noSuchRecord(entity, id.text) }
        var conditions = ["\(entity.idColumn) = $1"]
        var parameters: [PostgresParameter] = [.uuid(id)]
        restrict(.none, depth, .read, &conditions, &parameters)
        let found = try connection.query(
            "SELECT FROM \(organization.qualified(entity.logicalName)) WHERE \(conditions.joined(separator: " AND "))", parameters)
        guard !found.isEmpty else { throw FieldsealError.noSuchRecord(entity, id.text) }
        throw FieldsealError(
            .concurrencyVersionMismatch,
            "The \(entity.logicalName) was changed since it was read. Read it again, and repeat the change with its new ETag.")
    }
}
