import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

// Updates, upserts and deletes.
extension PreparedWrite {
    func upsert(
        _ input: ParsedValues,
        _ recordKey: RecordKey,
        _ members: [JSONValue.Member],
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        _ key: Session.CurrentKey?,
        _ changes: inout DestinationChanges,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome {
        let resolved = try resolveReferences(input, isCompared: true, on: connection)
        let id = try identified(recordKey, input, condition, on: connection)
        if let id, let changed = try changeable(resolved, of: id, on: connection),
            let updated = try update(changed, id: id, condition, depth, key, &changes, on: connection)
        {
            return updated
        }
        // A caller that may not create records must not learn which ids exist.
        let mayCreate = id == nil || caller.depth(of: .create, on: entity) != .none
        guard condition == .none, entity.messages.contains(.create), mayCreate else {
            throw FieldsealError.noSuchRecord(entity, id?.text ?? "")
        }
        _ = try session.require(.create, on: entity)
        let new = try ParsedValues(entity, recordKey.completed(members), for: .create)
        try Self.requireRights(new, for: .create, of: caller)
        return try create(new, Self.id(id, new), key, &changes, on: connection)
    }

    /// Leaves out values that can't be updated and that the record has already (OData 4.0 Part 1, section 11.4.3). So a client can
    /// write back what it read.
    ///
    /// - Returns: Nil when there is no such record.
    /// - Throws: ``FieldsealError`` `.attributeCannotBeUpdated` naming the first attribute that differs; `.objectDoesNotExist` if
    ///   the caller may not read the record.
    private func changeable(_ input: ParsedValues, of id: UUID, on connection: isolated PostgresConnection) throws -> ParsedValues?
    {
        let fixed = input.unchangeable
        guard let first = fixed.first else { return input }
        guard try exists(id, on: connection) else { return nil }
        let depth = caller.depth(of: .retrieve, on: entity)
        guard depth != .none, try !ids(of: entity, .id(id), readable: depth, on: connection).isEmpty else {
            throw FieldsealError.noSuchRecord(entity, id.text)
        }
        func refuse(_ attribute: AttributeDefinition) throws {
            let name = attribute.logicalName
            if let refusal = withheld[name] { throw refusal }
            throw FieldsealError(.attributeCannotBeUpdated, "\(name) can't be updated.").about(name)
        }
        var statement = StatementBuilder(organization, caller)
        let record = statement.bind(.uuid(id))
        var comparisons: [String] = []
        for (attribute, value) in fixed {
            guard let value, !attribute.isEncrypted, attribute.validFor.contains(.read) else {
                try refuse(attribute)
                continue
            }
            comparisons.append(attribute.equals(statement.bind(attribute.type.parameter(value))))
        }
        let rows = try connection.query(
            "SELECT \(comparisons.joined(separator: ", ")) FROM \(organization.qualified(entity.logicalName)) "
                + "WHERE \(entity.idColumn) = \(record)", statement.parameters)
        guard let row = rows.first else { return nil }
        for (index, item) in fixed.enumerated() where try !row.decode(index, as: Bool.self) { try refuse(item.attribute) }
        let changed = input.changeable()
        // Without other values the update would change only the version, so it is refused. The update is accepted if it may confirm
        // the queue or user whose credential a mailbox uses.
        if changed.names.isEmpty, !parts.namesParties,
            changed.agreed.isEmpty || !DestinationChanges.isTouched(by: changed, isNew: false)
        {
            try refuse(first.attribute)
        }
        return changed
    }

    /// - Returns: Nil when there is no such record.
    private func update(
        _ input: ParsedValues,
        id: UUID,
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        _ key: Session.CurrentKey?,
        _ changes: inout DestinationChanges,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome? {
        try requireEnabledOwner(input, of: id, on: connection)
        if parts.namesParties {
            return try connection.atomically {
                let outcome = try updateRow(input, id: id, condition, depth, key, on: connection)
                guard outcome != nil, try !parts.areKept(in: id, of: organization, on: connection) else { return outcome }
                try EmailParts.requireOpen(id, of: organization, on: connection)
                try requireParties(of: id, on: connection)
                try parts.replace(in: id, of: organization, by: caller, on: connection)
                return outcome
            }
        }
        try changes.begin(input, id: id, isNew: false, in: session, on: connection)
        let outcome: WriteOutcome? = try DisabledUsers.attesting(input, id, session, on: connection) {
            try updateRow(input, id: id, condition, depth, key, on: connection)
        }
        if outcome != nil { changes.renew(input, id: id) }
        return outcome
    }

    private func updateRow(
        _ input: ParsedValues,
        id: UUID,
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        _ key: Session.CurrentKey?,
        on connection: isolated PostgresConnection
    ) throws -> WriteOutcome? {
        var update = UpdateStatement(input, caller, organization)
        var conditions = ["\(entity.idColumn) = $\(update.bind(.uuid(id)))"]
        let rule = try isEmail ? EmailWriteRule(update: input, caller.role) : nil
        if let rule { conditions.append(rule.condition) }
        // Assigning a record to another owner needs the privilege to assign. A client that writes back a record names the present
        // owner, for which it does not need this privilege.
        let isAssigned = input.values["ownerid"] != nil
        if case .id(let owner) = input.values["ownerid"] {
            var rights: [String] = []
            restrict(.none, caller.depth(of: .assign, on: entity), .assign, &rights, &update.parameters)
            if !rights.isEmpty {
                conditions.append("(ownerid = $\(update.bind(.uuid(owner))) OR \(rights.joined(separator: " AND ")))")
            }
        }
        let isAssignedAlone = isAssigned && input.names == ["ownerid"]
        restrict(condition, depth, isAssignedAlone ? .assign : .write, &conditions, &update.parameters)
        var cells: [String: [UInt8]?]?
        if let key, !input.secrets.isEmpty {
            cells = try input.secrets.reduce(into: [:]) { cells, secret in
                cells?[secret.key] = .some(try secret.value.map { try key.seal($0, entity, secret.key, id, organization) })
            }
        }
        let (sql, parameters) = try update.statement(
            where: conditions, cells: cells, key?.version, PasswordEvents(entity, id, input.secrets, in: session))
        let named = naming()
        let rows = try session.run(named + [(sql, parameters)], on: connection)[named.count]
        guard let row = rows.first else {
            if let rule {
                if let outcome = try unchanged(input, id, rule, condition, depth, on: connection) { return outcome }
                try refuseStatus(id, rule, condition, depth, .write, on: connection)
            }
            if isAttachment { try refuseFile(id, condition, depth, .write, on: connection) }
            let needed: AccessRights = isAssignedAlone ? .assign : isAssigned ? [.assign, .write] : .write
            if condition != .none || depth != .organization {
                try session.refuseReadable(entity, id, without: needed, on: connection)
                // An upsert creates a record that does not exist. A caller that may not create records must not learn which ids
                // exist.
                let mayCreate = condition == .none && caller.depth(of: .create, on: entity) != .none
                if try mayCreate && !exists(id, on: connection) { return nil }
                try refuseMissing(id, condition, depth, on: connection)
            }
            return nil
        }
        return WriteOutcome(id: id, versionNumber: Int64(try row.decode(0, as: Int.self)), isCreated: false)
    }

    private func exists(_ id: UUID, on connection: isolated PostgresConnection) throws -> Bool {
        let table = organization.qualified(entity.logicalName)
        return try !connection.query("SELECT FROM \(table) WHERE \(entity.idColumn) = $1", [.uuid(id)]).isEmpty
    }

    // MARK: Delete

    func delete(
        _ recordKey: RecordKey,
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        _ changes: inout DestinationChanges,
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
        let rule = isEmail ? EmailWriteRule(deletionBy: caller.role) : nil
        if let rule { conditions.append(rule.condition) }
        // The audit can't read the actor from a deleted row, so the first statement tells the audit who deletes the record.
        let statements: [(sql: String, parameters: [PostgresParameter])] = [
            session.callerSettings,
            (
                "DELETE FROM \(organization.qualified(entity.logicalName)) WHERE \(conditions.joined(separator: " AND "))",
                parameters
            ),
        ]
        let result = try session.forgettingRoles(of: entity, id, on: connection) {
            guard !removedLinks.isEmpty else { return try connection.pipeline(statements)[1] }
            return try connection.atomically {
                let result = try connection.pipeline(statements)[1]
                if result.affectedRows > 0 { try removeLinks(to: id, on: connection) }
                return result
            }
        }
        if result.affectedRows == 0 {
            if let rule { try refuseStatus(id, rule, condition, depth, .delete, on: connection) }
            if isAttachment { try refuseFile(id, condition, depth, .delete, on: connection) }
            try session.refuseReadable(entity, id, without: .delete, on: connection)
            try refuseMissing(id, condition, depth, on: connection)
        }
        changes.delete(entity, id, clearing: removedLinks, by: session)
        return WriteOutcome(id: id, versionNumber: 0, isCreated: false)
    }

    // MARK: Conditions

    func restrict(
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        _ right: AccessRights,
        isOfAnyStatus: Bool = false,
        _ conditions: inout [String],
        _ parameters: inout [PostgresParameter]
    ) {
        if case .version(let version) = condition {
            parameters.append(.int64(version))
            conditions.append("versionnumber = $\(parameters.count)")
        }
        if case .refersTo(let lookup, let id) = condition {
            parameters.append(.uuid(id))
            conditions.append("\(quoteIdentifier(lookup)) = $\(parameters.count)")
        }
        let own = AccessRule(entity, organization, caller).condition(depth, right, organization.qualified(entity.logicalName)) {
            parameters.append($0)
            return "$\(parameters.count)"
        }
        if let own { conditions.append(own) }
        // Files of a submitted e-mail can't be changed.
        if right != .read, isAttachment, !isOfAnyStatus { conditions.append("NOT \(isOfSubmitted)") }
    }

    /// Throws the reason why a write found no record: it does not exist for the caller, or it has another version.
    private func refuseMissing(
        _ id: UUID,
        _ condition: WriteCondition,
        _ depth: PrivilegeDepth,
        on connection: isolated PostgresConnection
    ) throws {
        switch condition {
        case .version: break
        case .refersTo(let lookup, _):
            throw FieldsealError(
                .objectDoesNotExist,
                "The two records are not linked: there is no \(entity.logicalName) with this id whose \(lookup) is the other record."
            )
        default: throw FieldsealError.noSuchRecord(entity, id.text)
        }
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

extension AttributeDefinition {
    /// The SQL condition that the stored value equals `other`, in the form in which a client reads it. In this form dates have no
    /// fractions of a second, and an empty text is null.
    func equals(_ other: String) -> String {
        let stored =
            switch type.kind {
            case .date: "date_trunc('second', \(column))"
            case .text: "nullif(\(column), '')"
            default: column
            }
        return "\(stored) IS NOT DISTINCT FROM \(other)\(type.isNumeric ? "::numeric" : "")"
    }
}
