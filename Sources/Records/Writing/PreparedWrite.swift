import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// A write whose values and privileges were checked, as far as possible without the database.
struct PreparedWrite: Sendable {
    let session: Session
    let entity: EntityDefinition
    private let action: Action
    /// The parties and attachments of an e-mail.
    private(set) var parts = EmailParts()
    let needsKey: Bool
    /// Whether the server chose the id of a new record.
    private var isOwnID = false
    /// The alternate key under which a new record must be the only one.
    private var newKey: RecordKey?
    /// The id of the message that this write is part of. All targets of one message must be different records.
    private(set) var message: UUID?
    /// The errors for attributes that the caller may not write. No error is thrown for an attribute whose value in the record is
    /// the same.
    private(set) var withheld: [String: FieldsealError] = [:]

    private enum Action {
        case create(ParsedValues, UUID)
        case upsert(ParsedValues, RecordKey, [JSONValue.Member], WriteCondition, PrivilegeDepth)
        case delete(RecordKey, WriteCondition, PrivilegeDepth)
        case message(UUID, RecordMessage)
    }

    var organization: Organization { session.organization }
    var caller: Caller { session.caller }

    /// Whether the write needs no read before it.
    var isOneStep: Bool {
        switch action {
        case .create(let input, _):
            input.references.isEmpty && !needsTransaction && !parts.namesRecords
                && !DisabledUsers.isTouched(by: input)
        case .upsert(let input, .id, _, _, _):
            input.references.isEmpty && !parts.namesParties && input.unchangeable.isEmpty
        default: false
        }
    }

    /// Whether the write needs a transaction. True if the write's effect on where credentials go is checked at the end, or if the
    /// write holds a lock until the end.
    var needsTransaction: Bool {
        switch action {
        case .create(let input, _):
            DestinationChanges.isTouched(by: input, isNew: true) || input.isGivenToTeam || newKey != nil || isAttachment
        case .upsert(let input, let key, _, let condition, _):
            DestinationChanges.isTouched(by: input, isNew: condition == .none) || input.isGivenToTeam
                || key.isAlternate && condition == .none || condition == .none && isAttachment
        case .delete: entity === EntityDefinition.emailServerProfile
        case .message: true
        }
    }

    /// How to find out later whether the write was done.
    var trace: WriteTrace {
        func id(_ key: RecordKey) -> UUID? { if case .id(let id) = key { id } else { nil } }
        return switch action {
        case .create(_, let id): WriteTrace(entity: entity, id: id, effect: .create(isOwnID: isOwnID))
        case .upsert(_, let key, _, let condition, _): WriteTrace(entity: entity, id: id(key), effect: .update(condition))
        case .delete(let key, _, _): WriteTrace(entity: entity, id: id(key), effect: .delete)
        case .message(let id, _): WriteTrace(entity: entity, id: id, effect: .update(.mustExist))
        }
    }

    /// The events of the passwords that the write sets. Cleared passwords are left out: they have an event only if they had a
    /// value, which is not known here.
    func expectedEvents(of id: UUID, since date: Date) -> [ExpectedEvent] {
        let secrets: [String: String?]
        switch action {
        case .create(let input, _), .upsert(let input, _, _, _, _): secrets = input.secrets
        case .delete, .message: return []
        }
        return secrets.filter { $0.value != nil }.keys.map {
            ExpectedEvent("\(entity.logicalName)(\(id.text)).\($0)", by: caller, since: date)
        }
    }

    init(_ write: RecordWrite, for session: Session) throws {
        self.session = session
        switch write {
        case .create(let entity, let id, let members):
            self.entity = entity
            _ = try session.require(.create, on: entity)
            let input = try ParsedValues(entity, Self.own(entity, members, &parts), for: .create)
            try parts.requireUsable()
            try input.ownKey?.requireNew(input)
            action = .create(input, Self.id(id, input))
            isOwnID = id == nil && input.values[entity.primaryID] == nil
            needsKey = !input.secrets.isEmpty
            try Self.requireRights(input, for: .create, of: session.caller)
        case .upsert(let entity, let key, let members, .mustNotExist, _):
            self.entity = entity
            _ = try session.require(.create, on: entity)
            try key.requireID(entity, for: .mustNotExist)
            _ = try key.filter(entity)
            let input = try ParsedValues(entity, Self.own(entity, key.completed(members), &parts), for: .create)
            try parts.requireUsable()
            try key.requireAgreement(with: input)
            if case .id(let id) = key { action = .create(input, id) } else { action = .create(input, Self.id(nil, input)) }
            if key.isAlternate { newKey = key }
            needsKey = !input.secrets.isEmpty
            try Self.requireRights(input, for: .create, of: session.caller)
        case .upsert(let entity, let key, let members, let condition, let message):
            self.entity = entity
            self.message = message
            var depth = try session.require(.update, on: entity)
            try key.requireID(entity, for: condition)
            try ParsedValues.requireEffect(of: members, on: entity)
            let members = try Self.own(entity, members, &parts)
            let mayCreate = condition == .none && session.caller.depth(of: .create, on: entity) != .none
            var input = try ParsedValues(entity, members, for: mayCreate ? .upsert : .update)
            withheld = Self.withhold(&input, from: session.caller)
            try Self.requireOwn(input, parts, key)
            let key = try key.joined(with: input.ownKey, of: entity)
            _ = try key.filter(entity)
            try key.requireAgreement(with: input)
            needsKey = !input.secrets.isEmpty
            depth = min(depth, try Self.requireRights(input, for: .update, of: session.caller))
            action = .upsert(input, key, members, condition, depth)
            if input.isNaming("ownerid") { _ = try session.require(.assign, on: entity) }
        case .delete(let entity, let key, let condition):
            self.entity = entity
            let depth = try session.require(.delete, on: entity)
            guard condition != .mustNotExist else {
                throw FieldsealError(
                    .concurrencyVersionMismatch,
                    "If-None-Match: * says that there is no such \(entity.logicalName), so none is deleted. Omit the header.")
            }
            _ = try key.filter(entity)
            action = .delete(key, condition, depth)
            needsKey = false
        case .message(let entity, let id, let message):
            self.entity = entity
            action = .message(id, message)
            needsKey = false
        }
    }

    /// Refuses an update with attachments, and an update whose values have the id of another record.
    private static func requireOwn(_ input: ParsedValues, _ parts: EmailParts, _ key: RecordKey) throws(FieldsealError) {
        guard parts.attachments.isEmpty else {
            throw FieldsealError(
                .invalidArgument,
                "Attachments are created with their e-mail; after that they can be changed and deleted one by one.")
        }
        if case .id(let other) = input.values[input.entity.primaryID], case .id(let id) = key, other != id {
            throw FieldsealError(.attributeCannotBeUpdated, "The id of a record can't be updated.")
        }
    }

    /// The members of the record itself. The parties and attachments of an e-mail are moved to `parts`.
    private static func own(_ entity: EntityDefinition, _ members: [JSONValue.Member], _ parts: inout EmailParts)
        throws(FieldsealError)
        -> [JSONValue.Member]
    {
        guard entity.logicalName == EntityDefinition.email.logicalName else { return members }
        let (email, others) = try EmailParts.split(members)
        parts = others
        return email
    }

    static func id(_ id: UUID?, _ input: ParsedValues) -> UUID {
        let named: UUID? = if case .id(let id) = input.values[input.entity.primaryID] { id } else { nil }
        return id ?? named ?? UUID.timeOrdered()
    }

    /// Checks that the caller's roles may write the named attributes.
    ///
    /// - Returns: The depth to which all of these attributes may be written.
    @discardableResult
    static func requireRights(_ input: ParsedValues, for purpose: ParsedValues.Purpose, of caller: Caller) throws -> PrivilegeDepth
    {
        let (entity, role) = (input.entity, caller.role)
        var depth = PrivilegeDepth.organization
        if role != .systemAdministrator || caller.impersonation != nil {
            let message: EntityDefinition.Message = purpose == .create ? .create : .update
            // Attributes that only a new record accepts are not written to an existing one, so they need no right.
            let names = purpose == .create ? input.names : input.names.subtracting(input.createOnly)
            for name in names.sorted() {
                let own = caller.depth(of: message, writing: name, on: entity)
                guard own != .none else { throw refusal(of: name, entity, role) }
                depth = min(depth, own)
            }
        }
        guard entity.logicalName == EntityDefinition.email.logicalName else { return depth }
        if purpose == .create {
            try EmailWriteRule.checkCreate(input, role)
        } else {
            _ = try EmailWriteRule(update: input, role)
        }
        return depth
    }

    static func refusal(of name: String, _ entity: EntityDefinition, _ role: Role) -> FieldsealError {
        if entity[name]?.isEncrypted ?? false {
            return FieldsealError(.privilegeDenied, "The role \(role.rawValue) may not set passwords.").about(name)
        }
        return FieldsealError(
            .privilegeDenied,
            "The role \(role.rawValue) may not write \(name) of \(entity.logicalName). Ask a System Administrator."
        ).about(name)
    }

    func run(
        _ key: Session.CurrentKey?,
        _ changes: inout DestinationChanges,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome {
        guard !parts.namesPartiesByKey else {
            var write = self
            write.parts = try parts.resolved { try party($0, $1, on: connection) }
            return try write.run(key, &changes, on: connection)
        }
        switch action {
        case .create(let input, let id):
            if let newKey, try identified(newKey, input, .none, on: connection) != nil {
                throw FieldsealError(.duplicateRecord, "There is \(entity.withArticle) with this alternate key already.")
            }
            do {
                return try create(input, id, key, &changes, on: connection)
            } catch let error as PostgresError where error.state == .uniqueViolation {
                throw duplicate(id)
            }
        case .upsert(let input, let recordKey, let members, let condition, let depth):
            return try upsert(input, recordKey, members, condition, depth, key, &changes, on: connection)
        case .delete(let recordKey, let condition, let depth):
            return try delete(recordKey, condition, depth, &changes, on: connection)
        case .message(let id, let message):
            let subject = try session.perform(message, on: entity, id, on: connection)
            return WriteOutcome(id: id, versionNumber: 0, isCreated: false, subject: subject)
        }
    }

    // MARK: Create

    /// Creates a record on the shared connection, if nothing has to be read before.
    ///
    /// - Returns: Nil when nothing was done and the write needs a separate connection.
    func runShared(_ key: Session.CurrentKey?) async throws -> WriteOutcome? {
        guard case .create(let input, let id) = action, isOneStep, let origin else { return nil }
        do {
            let (rows, others) = try inserts(input, id, origin, key)
            let named = naming(others: others)
            guard named.isEmpty, others.isEmpty else {
                let statements = named + rows.map(\.statement) + others
                return try await session.runShared(statements).map { try outcome(Array($0.dropFirst(named.count)), id) }
            }
            return try await session.insertShared(rows).map { try outcome($0, id) }
        } catch let error as PostgresError where error.state == .uniqueViolation {
            throw duplicate(id)
        }
    }

    func create(
        _ input: ParsedValues,
        _ id: UUID,
        _ key: Session.CurrentKey?,
        _ changes: inout DestinationChanges,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome {
        let input = try resolveReferences(input, on: connection)
        try requireOwner(input, on: connection)
        try requireEnabledOwner(input, on: connection)
        try requireParties(on: connection)
        try requireEmail(of: input, on: connection)
        try changes.begin(input, id: id, isNew: true, in: session, on: connection)
        let (rows, others) = try inserts(input, id, try origin ?? origin(on: connection), key)
        let created: WriteOutcome = try DisabledUsers.attesting(input, id, session, on: connection) {
            let named = naming(others: others)
            let results = try session.run(named + rows.map(\.statement) + others, on: connection)
            return try outcome(Array(results.dropFirst(named.count)), id)
        }
        changes.renew(input, id: id)
        return created
    }

    /// The statement that gives the audit the caller's name, if the audit can't read the name in a row: in rows without
    /// `modifiedby`, and in rows that are written twice.
    ///
    /// - Parameter others: The statements that follow those of the new record itself.
    func naming(others: [SharedConnection.Statement] = []) -> [SharedConnection.Statement] {
        entity.isAudited && (entity["modifiedby"] == nil || !others.isEmpty) ? [session.callerSettings] : []
    }

    /// The rows of a new record, its cells and their events, and the statements for other records that belong to it.
    private func inserts(
        _ input: ParsedValues,
        _ id: UUID,
        _ origin: NewRecord.Origin,
        _ key: Session.CurrentKey?
    ) throws -> (rows: [RowInsert], others: [SharedConnection.Statement]) {
        let secrets = input.secrets.compactMapValues { $0 }
        let draft = NewRecord(entity, id: id, input.values, secrets: input.secrets, origin: origin)
        var rows = [draft.insert(in: organization)]
        if let key, !secrets.isEmpty {
            rows.append(try key.insert(secrets, of: entity, id, in: organization))
            rows += try PasswordEvents(entity, id, secrets, in: session).insertions()
        }
        if entity.logicalName == EntityDefinition.systemUser.logicalName {
            rows.append(draft.userSettings(in: organization).insert(in: organization))
        }
        let others = try draft.mailbox(in: organization, under: session.kek) ?? []
        return (rows, others + parts.statements(of: id, in: organization, by: caller))
    }

    /// - Parameter results: The results of the record's INSERT, which other records may share, and of the statements that
    ///   follow it.
    private func outcome(_ results: [PostgresResult], _ id: UUID) throws -> WriteOutcome {
        guard let row = try results[0].first(where: { try $0.decode(1, as: UUID.self) == id }) else {
            throw FieldsealError(.unexpected, "The new record has no row.")
        }
        return WriteOutcome(id: id, versionNumber: Int64(try row.decode(0, as: Int.self)), isCreated: true)
    }

    private func duplicate(_ id: UUID) -> FieldsealError {
        FieldsealError(.duplicateRecord, "The \(entity.logicalName) with the id \(id.text) exists already.")
    }

    /// The caller's systemuser and business unit; nil if either is unknown.
    private var origin: NewRecord.Origin? {
        guard let unit = session.callersUnit, let user = caller.systemUserID else { return nil }
        return NewRecord.Origin(
            organization: organization, user: user, businessUnit: unit, delegate: caller.impersonation?.systemUserID)
    }

    private func origin(on connection: isolated PostgresConnection) throws -> NewRecord.Origin {
        let units = try connection.query(
            "SELECT businessunitid FROM \(organization.qualified("businessunit")) ORDER BY createdon, businessunitid LIMIT 1")
        let unit: UUID = try units[0].decode(0)
        return NewRecord.Origin(organization: organization, user: caller.systemUserID ?? unit, businessUnit: unit)
    }
}

extension RecordKey {
    /// Refuses values that contradict the key.
    ///
    /// - Throws: ``FieldsealError`` `.invalidArgument` naming the attribute.
    func requireAgreement(with input: ParsedValues) throws(FieldsealError) {
        guard case .alternate(let values) = self else { return }
        for (name, value) in values {
            guard let attribute = input.entity[name], let given = input.values[attribute.logicalName] else { continue }
            let named = try attribute.type.value(of: value, for: attribute)
            let isSame: Bool =
                if case .text(let one) = given, case .text(let other) = named { one.lowercased() == other.lowercased() } else {
                    given == named
                }
            guard isSame else {
                throw FieldsealError(
                    .invalidArgument,
                    "The key names a record by \(attribute.logicalName), and the values have another \(attribute.logicalName). To "
                        + "change it, name the record by its id."
                ).about(attribute.logicalName)
            }
        }
    }
}
