package import Foundation
package import JSON
package import Model
import PostgresClient
import Tenancy

// Finds the record of a write, which the client may name by an id, by an alternate key, or by both.
extension PreparedWrite {
    /// The record that an update or an upsert writes; nil if it does not exist and may be created.
    ///
    /// - Throws: ``FieldsealError`` if several records have the key, if no record has it and no record may be created, or if the id
    ///   and the key name different records.
    func identified(
        _ recordKey: RecordKey, _ input: ParsedValues, _ condition: WriteCondition, on connection: isolated PostgresConnection
    ) throws -> UUID? {
        guard case .alternate(let values) = recordKey else {
            if case .id(let id) = recordKey { return id }
            return nil
        }
        let named = values.filter { $0.name != entity.primaryID }
        if condition == .none { try lock(.alternate(named), on: connection) }
        guard let own = recordKey.ownID(of: entity) ?? input.values[entity.primaryID]?.uuid else {
            let found = try ids(of: entity, recordKey, on: connection)
            if condition != .none || found.count > 1 {
                try recordKey.check(entity, found.count, isAmbiguous: found.count > 1)
            }
            return found.first
        }
        let both = RecordKey.alternate(named + [(entity.primaryID, .text(own.text))])
        if !(try ids(of: entity, both, on: connection)).isEmpty { return own }
        if condition != .none { try both.check(entity, 0, isAmbiguous: false) }
        guard try ids(of: entity, .alternate(named), on: connection).isEmpty else {
            throw FieldsealError(
                .invalidArgument,
                "The id \(own.text) and the alternate key name two records of \(entity.logicalName). Name one of them.")
        }
        return nil
    }
}

extension PreparedWrite {
    /// Lets one transaction at a time create a record under an alternate key. Other transactions wait, and then find the record.
    private func lock(_ key: RecordKey, on connection: isolated PostgresConnection) throws {
        let name = "\(organization.id.text) \(entity.logicalName) \(key.text.lowercased())"
        _ = try connection.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [.text(name)])
    }
}

extension RecordKey {
    var isAlternate: Bool { if case .alternate = self { true } else { false } }

    /// The id among the values of a key.
    func ownID(of entity: EntityDefinition) -> UUID? {
        switch self {
        case .id(let id): return id
        case .alternate(let values):
            guard case .text(let text)? = values.first(where: { $0.name == entity.primaryID })?.value else { return nil }
            return UUID(text: text)
        }
    }

    /// Combines the key in the request's address with the key in the body's own `@odata.id`.
    ///
    /// - Throws: ``FieldsealError`` `.payloadDoesNotFit` if the two keys can't name one record.
    func joined(with other: RecordKey?, of entity: EntityDefinition) throws(FieldsealError) -> RecordKey {
        switch (self, other) {
        case (_, nil): return self
        case (.id(let id), .id(let other)?) where id == other: return self
        case (.id(let id), .alternate(let values)?), (.alternate(let values), .id(let id)?):
            let named = values.filter { $0.name != entity.primaryID }
            if named.count == values.count { return .alternate(named + [(entity.primaryID, .text(id.text))]) }
        case (.alternate, .alternate(let values)?) where text.lowercased() == RecordKey.alternate(values).text.lowercased():
            return self
        default: break
        }
        throw FieldsealError(.payloadDoesNotFit, "@odata.id is the address of a record other than the one to write.")
    }

    /// Refuses a new record whose `@odata.id` contradicts the id or the values in the same body.
    func requireNew(_ input: ParsedValues) throws(FieldsealError) {
        try requireAgreement(with: input)
        guard let id = ownID(of: input.entity) else { return }
        guard let given = input.values[input.entity.primaryID]?.uuid else {
            throw FieldsealError(
                .payloadDoesNotFit,
                "A new record takes its id as \(input.entity.primaryID), and not as @odata.id. Leave @odata.id out.")
        }
        guard id != given else { return }
        throw FieldsealError(.payloadDoesNotFit, "@odata.id and \(input.entity.primaryID) name different records.")
    }
}

extension RecordKey {
    /// Refuses to create a record under the empty id, which no record has.
    func requireID(_ entity: EntityDefinition, for condition: WriteCondition) throws(FieldsealError) {
        guard condition == .none || condition == .mustNotExist, ownID(of: entity) == .empty else { return }
        throw FieldsealError(.invalidArgument, "\(UUID.empty.text) is the empty id, and no \(entity.logicalName) has it.")
    }
}

extension EntityDefinition {
    /// The id among the values of a new record. Nil if there is none, or if it is the empty id, which serializers write for "no
    /// id".
    package func id(in members: [JSONValue.Member]) -> UUID? {
        for member in members where isID(member.name.lowercased()) {
            if let named = member.value.string.flatMap({ UUID(text: $0) }), named != .empty { return named }
        }
        return nil
    }
}

extension UUID {
    static let empty = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
}

extension AttributeValue {
    var uuid: UUID? { if case .id(let id) = self { id } else { nil } }
}
