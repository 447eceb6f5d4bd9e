public import Foundation
import PostgresClient

/// A page of records and where the next one begins.
public struct RecordPage: Sendable {
    public let records: [Record]
    /// For the next page; nil on the last one.
    public let next: Continuation?

    /// Names a place in a list in a way that inserts and deletes elsewhere don't move.
    public struct Continuation: Sendable, Equatable {
        /// The last record that was given.
        public let after: UUID
        /// Records of `$top` that are still to be given, if it was asked for.
        public let remaining: Int?

        public init(after: UUID, remaining: Int?) {
            self.after = after
            self.remaining = remaining
        }
    }
}

extension Session {
    /// Records a page has at most.
    public static let pageLimit = 5_000

    /// One record.
    ///
    /// - Parameter select: The attributes to give; empty for all that may be read.
    /// - Throws: ``FieldsealError`` `.objectDoesNotExist` when there is none, or none that the caller may see.
    public func retrieve(_ entity: EntityDefinition, id: UUID, select: [AttributeDefinition] = []) async throws -> Record {
        let depth = try require(.retrieve, on: entity)
        let reading = RecordReading(entity, select)
        let rows = try await deployment.pool.withConnection { connection in
            var conditions = ["\(quoteIdentifier(entity.primaryID)) = $1"]
            var parameters: [PostgresParameter] = [.uuid(id)]
            if depth == .own { try restrictToOwn(entity, &conditions, &parameters) }
            return try connection.query(
                "SELECT \(reading.columns) FROM \(organization.qualified(entity.logicalName)) "
                    + "WHERE \(conditions.joined(separator: " AND "))", parameters)
        }
        guard let row = rows.first else { throw FieldsealError.noSuchRecord(entity, id.text) }
        return try reading.record(row)
    }

    /// A page of records, in the order of their ids.
    ///
    /// - Parameters:
    ///   - select: The attributes to give; empty for all that may be read.
    ///   - top: How many to give over all pages; nil for all.
    ///   - pageSize: 1 to ``pageLimit``.
    ///   - continuation: Where an earlier page ended.
    public func list(
        _ entity: EntityDefinition,
        select: [AttributeDefinition] = [],
        top: Int? = nil,
        pageSize: Int = Session.pageLimit,
        after continuation: RecordPage.Continuation? = nil
    ) async throws -> RecordPage {
        let depth = try require(.retrieveMultiple, on: entity)
        let reading = RecordReading(entity, select)
        let wanted = continuation?.remaining ?? top
        let count = min(wanted ?? .max, min(pageSize, Self.pageLimit))
        let rows = try await deployment.pool.withConnection { connection in
            var conditions: [String] = []
            // One more than asked for tells whether there is a next page.
            var parameters: [PostgresParameter] = [.int64(Int64(count) + 1)]
            if let after = continuation?.after {
                parameters.append(.uuid(after))
                conditions.append("\(quoteIdentifier(entity.primaryID)) > $\(parameters.count)")
            }
            if depth == .own { try restrictToOwn(entity, &conditions, &parameters) }
            let filter = conditions.isEmpty ? "" : " WHERE \(conditions.joined(separator: " AND "))"
            return try connection.query(
                "SELECT \(reading.columns) FROM \(organization.qualified(entity.logicalName))\(filter) "
                    + "ORDER BY \(quoteIdentifier(entity.primaryID)) LIMIT $1", parameters)
        }
        let records = try rows.prefix(count).map(reading.record)
        let remaining = wanted.map { $0 - records.count }
        let hasMore = rows.count > count && remaining != 0
        return RecordPage(
            records: records,
            next: hasMore ? records.last.map { .init(after: $0.id, remaining: remaining) } : nil)
    }

    /// Checks a privilege and says how far it reaches.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` when it does not reach at all; `.notImplemented` when no record of
    ///   the entity knows the message.
    func require(_ message: EntityDefinition.Message, on entity: EntityDefinition) throws -> Depth {
        guard entity.messages.contains(message) else {
            throw FieldsealError(.notImplemented, "\(entity.logicalName) does not have the message \(message.rawValue).")
        }
        let depth = PrivilegeTable.depth(of: message, on: entity, for: caller.role)
        guard depth != .none else {
            throw FieldsealError(
                .privilegeDenied, "The role \(caller.role.rawValue) may not \(message.rawValue) records of \(entity.logicalName).")
        }
        return depth
    }

    /// Adds the condition that a record is the caller's own.
    func restrictToOwn(_ entity: EntityDefinition, _ conditions: inout [String], _ parameters: inout [PostgresParameter]) throws {
        let column = entity["ownerid"] == nil ? entity.primaryID : "ownerid"
        parameters.append(.uuid(caller.systemUserID))
        conditions.append("\(quoteIdentifier(column)) = $\(parameters.count)")
    }
}

/// Which columns a read takes, and how its rows become records.
private struct RecordReading: Sendable {
    let entity: EntityDefinition
    let attributes: [AttributeDefinition]

    init(_ entity: EntityDefinition, _ select: [AttributeDefinition]) {
        self.entity = entity
        attributes = select.isEmpty ? entity.attributes.filter { $0.validFor.contains(.read) } : select
    }

    /// Id and version number, then the attributes. An encrypted attribute has no column here: there is nothing to read.
    var columns: String {
        let stored = attributes.filter { !$0.isEncrypted }.map { attribute in
            let name = quoteIdentifier(attribute.logicalName)
            return attribute.type.isNumeric ? "\(name)::text" : name
        }
        return ([quoteIdentifier(entity.primaryID), "versionnumber"] + stored).joined(separator: ", ")
    }

    @Sendable func record(_ row: PostgresRow) throws -> Record {
        var column = 1
        let values = try attributes.map { attribute in
            if attribute.isEncrypted { return (attribute: attribute, value: AttributeValue.null) }
            column += 1
            return (attribute: attribute, value: try attribute.type.value(in: row, column: column))
        }
        return Record(
            entity: entity, id: try row.decode(0), versionNumber: Int64(try row.decode(1, as: Int.self)), values: values)
    }
}
