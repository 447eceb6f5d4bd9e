package import Foundation
package import JSON
package import Model

/// One write of a record, with a client's values.
package enum RecordWrite: Sendable {
    /// Creates a record, with the given id, the id among the members, or a new one.
    case create(EntityDefinition, id: UUID? = nil, [JSONValue.Member])
    /// Updates a record, or creates it with that key if the condition allows it. `among` is the id of a message: all targets of
    /// this message must be different records.
    case upsert(EntityDefinition, RecordKey, [JSONValue.Member], WriteCondition = .none, among: UUID? = nil)
    /// Deletes a record and its cells.
    case delete(EntityDefinition, RecordKey, WriteCondition = .mustExist)
    /// Performs a message about a record.
    case message(EntityDefinition, UUID, RecordMessage)
}
