import Model
import Records
import Synchronization

/// The columns of a Retrieve, prepared with the markup around their values. They are cached, because clients request the same
/// few sets of columns again and again.
final class RetrievedColumns: Sendable {
    let outputs: [RecordQuery.Output]
    let columns: ResultColumns
    private let last = Mutex<Last?>(nil)

    /// The most recent writer, for the next record of the same shape.
    private struct Last: Sendable {
        let shape: RowShape
        let prefixes: RecordContracts.Prefixes
        let contracts: RecordContracts
    }

    private static let known = BoundedCache<[String], RetrievedColumns>()

    private init(_ entity: EntityDefinition, _ set: ColumnSet) throws(FieldsealError) {
        try set.check(entity)
        var query = RecordQuery()
        set.add(to: &query, of: entity)
        if query.outputs.isEmpty { query.outputs = [.init(.column(.init(entity.primaryID)))] }
        columns = try ResultColumns(&query, of: entity)
        outputs = query.outputs
    }

    /// - Throws: ``FieldsealError`` for a column that the entity does not have.
    static func of(_ entity: EntityDefinition, _ set: ColumnSet) throws(FieldsealError) -> RetrievedColumns {
        try known.value(of: [entity.logicalName, set.isAll ? "*" : ""] + set.columns) { () throws(FieldsealError) in
            try RetrievedColumns(entity, set)
        }
    }

    /// The writer for rows of a shape.
    func contracts(_ shape: RowShape, _ prefixes: RecordContracts.Prefixes) -> RecordContracts {
        if let last = last.withLock({ $0 }), last.shape === shape, last.prefixes == prefixes { return last.contracts }
        let contracts = RecordContracts(columns, shape, prefixes)
        last.withLock { $0 = Last(shape: shape, prefixes: prefixes, contracts: contracts) }
        return contracts
    }
}
