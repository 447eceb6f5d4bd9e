public import Foundation
public import JSON
public import Model

/// One write of a record, with a client's own values.
public enum RecordWrite: Sendable {
    /// Creates a record, under the id that is given, or that the members name, or a new one.
    case create(EntityDefinition, id: UUID? = nil, [JSONValue.Member])
    /// Updates a record, or creates it under that key where the condition allows.
    case upsert(EntityDefinition, RecordKey, [JSONValue.Member], WriteCondition = .none)
    /// Deletes a record and its cells.
    case delete(EntityDefinition, RecordKey, WriteCondition = .mustExist)
    /// Sends a message about a record.
    case message(EntityDefinition, UUID, RecordMessage)
}
