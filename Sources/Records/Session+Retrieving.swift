import CellCrypto
package import Foundation
import JSON
package import Model
import PostgresClient
package import Tenancy

extension Session {
    /// Runs a query and returns a page of its records or groups.
    ///
    /// - Parameter mayUseStandby: Whether a standby may run the query. False for data that decides about access or about a change,
    ///   which must come from the primary.
    /// - Throws: ``FieldsealError``: `.noSuchAttribute`, `.queryDoesNotFit`, `.privilegeDenied`.
    package func list(
        _ entity: EntityDefinition, _ query: RecordQuery, expanding: [Expansion] = [], mayUseStandby: Bool = false
    ) async throws -> RecordPage {
        let reading = try RetrieveOperation(entity, query, expanding, for: self)
        let run: @Sendable (isolated PostgresConnection) throws -> RecordPage = { connection in
            guard !expanding.isEmpty || query.countsRows else { return try reading.run(on: connection) }
            // All statements of the query read the same snapshot.
            return try connection.transaction(isolation: .repeatableRead) { try reading.run(on: connection) }
        }
        if mayUseStandby, let standby = deployment.standby, let position = try await position(for: standby),
            let page = try await standby.read(after: position, run)
        {
            return page
        }
        return try await deployment.pool.withConnection { try run($0) }
    }

    /// The WAL position of the primary, read after the primary checked the session. A standby that has replayed the WAL up to this
    /// position grants no revoked right, and has every acknowledged write.
    ///
    /// - Returns: Nil if the server does not report a position.
    private func position(for standby: Standby) async throws -> Standby.Position? {
        try await deployment.pool.withConnection { connection in
            do {
                return try Standby.Position(run([(standby.positionStatement, [])], on: connection)[0])
            } catch let error as PostgresError where error.kind == .server && !error.isConnectionLoss {
                return nil
            }
        }
    }

    /// Retrieves one record, as a page.
    ///
    /// - Parameter outputs: The attributes to return; empty for all that may be read.
    /// - Throws: ``FieldsealError`` `.objectDoesNotExist` when the record does not exist, or the caller may not read it;
    ///   `.recordNotFoundByKey` and `.duplicateRecordKey` for an alternate key.
    package func retrieve(
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ outputs: [RecordQuery.Output] = [],
        expanding: [Expansion] = []
    ) async throws -> RecordPage {
        let page: RecordPage
        if case .id(let id) = key, expanding.isEmpty, let shape = try RetrieveStatement(entity, outputs, for: self) {
            let reading = try RetrieveStatement.readings.value(of: shape) { () throws(FieldsealError) in
                try RetrieveOperation(
                    entity, Self.query(outputs, .isIn(.init(entity.primaryID), []), pageSize: RetrieveOperation.lookupLimit), [],
                    for: self)
            }
            page = try await reading.lookUp(id, for: self)
        } else {
            page = try await list(entity, Self.query(outputs, try key.filter(entity)), expanding: expanding)
        }
        try key.check(entity, page.records.count, isAmbiguous: page.next != nil)
        return page
    }

    /// Refuses outputs and expansions that a record does not have, or that the caller may not read, before the record is
    /// written.
    package func requireReadable(_ entity: EntityDefinition, _ outputs: [RecordQuery.Output], expanding: [Expansion])
        throws(FieldsealError)
    {
        guard !outputs.isEmpty || !expanding.isEmpty else { return }
        _ = try RetrieveOperation(entity, Self.query(outputs, .isIn(.init(entity.primaryID), [])), expanding, for: self)
    }

    private static func query(_ outputs: [RecordQuery.Output], _ filter: Filter, pageSize: Int = 1) -> RecordQuery {
        var query = RecordQuery()
        query.outputs = outputs
        query.filter = filter
        query.pageSize = pageSize
        return query
    }

    /// How many records a query matches.
    package func count(_ entity: EntityDefinition, _ filter: Filter?) async throws -> Int {
        var query = RecordQuery()
        query.filter = filter
        query.countsRows = true
        query.pageSize = 1
        query.outputs = [.init(.column(.init(entity.primaryID)))]
        return try await list(entity, query, mayUseStandby: true).count ?? 0
    }

    /// The encrypted attributes that have a value, for a record that the caller may read.
    package func secretsSet(_ entity: EntityDefinition, _ id: UUID) async throws -> Set<String> {
        _ = try await retrieve(entity, .id(id), [.init(.column(.init(entity.primaryID)))])
        let flags = entity.isSetColumns.sorted { $0.key < $1.key }
        return try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                "SELECT \(flags.map { quoteIdentifier($0.value) }.joined(separator: ", ")) FROM \(organization.qualified(entity.logicalName)) WHERE \(entity.idColumn) = $1",
                [.uuid(id)])
            guard let row = rows.first else { return [] }
            return Set(try flags.enumerated().compactMap { try row.decode($0, as: Bool.self) ? $1.key : nil })
        }
    }

    /// A mark of each encrypted attribute that has a value, for a record that the caller may read: the key version, and a keyed
    /// hash of the cell. The mark changes with each write of the attribute, even of an equal value, and with each key change.
    package func secretMarks(_ entity: EntityDefinition, _ id: UUID) async throws -> [String: String] {
        let names = entity.encryptedAttributes.map(\.logicalName)
        guard !names.isEmpty else { return [:] }
        _ = try await retrieve(entity, .id(id), [.init(.column(.init(entity.primaryID)))])
        return try await deployment.pool.withConnection { connection in
            let rows = try connection.query(
                """
                SELECT key_version, \(names.map(quoteIdentifier).joined(separator: ", "))
                FROM \(organization.qualified(entity.cellTable)) WHERE \(entity.idColumn) = $1
                   AND key_version = (SELECT e.key_version FROM \(organization.qualified("encryption")) AS e)
                """, [.uuid(id)])
            guard let row = rows.first else { return [:] }
            let keyVersion = try row.decode(0, as: Int.self)
            return try names.enumerated().reduce(into: [:]) { marks, name in
                guard let cell = try row.decodeIfPresent(name.offset + 1, as: PostgresBytes.self)?.bytes else { return }
                let tag = try kek.tag(label: "secret-mark", over: [id.bytes, Array(name.element.utf8), cell])
                marks[name.element] = "\(keyVersion).\(Data(tag.prefix(16)).base64URL)"
            }
        }
    }

    func require(_ message: EntityDefinition.Message, on entity: EntityDefinition) throws(FieldsealError) -> PrivilegeDepth {
        try caller.require(message, on: entity)
    }
}

extension RecordKey {
    /// The condition that finds the record.
    ///
    /// - Throws: ``FieldsealError`` when the named attributes are not a key.
    func filter(_ entity: EntityDefinition) throws(FieldsealError) -> Filter {
        switch self {
        case .id(let id): return .compare(.init(entity.primaryID), .equal, .text(id.text))
        case .alternate(let values):
            for (name, _) in values {
                if let attribute = entity[name.lowercased()], attribute.isEncrypted {
                    throw FieldsealError(.queryDoesNotFit, "\(attribute.logicalName) is encrypted, and can't be a key.")
                }
            }
            // If the client gives an id too, the id and the key must belong to the same record.
            let named = values.filter { $0.name.lowercased() != entity.primaryID }
            guard named.count == 1, values.count - named.count <= 1,
                entity.alternateKeys.contains(where: { $0.logicalName == named[0].name.lowercased() })
            else {
                let keys = entity.alternateKeys.map(\.logicalName).joined(separator: ", ")
                throw FieldsealError(
                    .queryDoesNotFit,
                    "\(entity.logicalName) has no such alternate key. It is addressed by its id\(keys.isEmpty ? "" : " or by \(keys)")."
                )
            }
            for (name, value) in values where value == .null || value == .text("") {
                throw FieldsealError(
                    .queryDoesNotFit, "The key \(name.lowercased()) of \(entity.withArticle) is empty. A key has a value.")
            }
            return .all(values.map { .compare(.init($0.name), .equal, $0.value) })
        }
    }

    func check(_ entity: EntityDefinition, _ found: Int, isAmbiguous: Bool) throws(FieldsealError) {
        switch self {
        case .id(let id):
            if found == 0 { throw FieldsealError.noSuchRecord(entity, id.text) }
        case .alternate(let values):
            if found == 0 {
                let names = values.count == 1 ? "this alternate key" : "both this id and this alternate key"
                throw FieldsealError(.recordNotFoundByKey, "There is no \(entity.logicalName) with \(names).")
            }
            if isAmbiguous {
                throw FieldsealError(
                    .duplicateRecordKey, "Several records of \(entity.logicalName) have this alternate key; use an id.")
            }
        }
    }
}

/// The key under which the statement for one record is cached, if the caller may read every record. This key is the same for every
/// id.
private struct RetrieveStatement: Hashable {
    private let schema: String
    private let entity: String
    private let attributes: [String]
    private let hidden: [String]

    static let readings = BoundedCache<RetrieveStatement, RetrieveOperation>()

    /// - Returns: Nil for a caller that may not read every record, and for outputs other than plain attributes of the record.
    init?(_ entity: EntityDefinition, _ outputs: [RecordQuery.Output], for session: Session) throws(FieldsealError) {
        guard try session.require(.retrieveMultiple, on: entity) == .organization else { return nil }
        schema = session.organization.schema
        self.entity = entity.logicalName
        var attributes: [String] = []
        var hidden: [String] = []
        for output in outputs {
            guard case .column(let column) = output.value, column.path.isEmpty, column.alias == nil, output.name == nil else {
                return nil
            }
            if output.isHidden { hidden.append(column.name) } else { attributes.append(column.name) }
        }
        self.attributes = attributes
        self.hidden = hidden
    }
}

/// A planned query, with its expansions. The expansions are queried later, because their queries need the records of this query.
private final class RetrieveOperation: Sendable {
    private let plan: QueryPlan
    private let query: RecordQuery
    private let entity: EntityDefinition
    private let expansions: [(request: Expansion, way: ExpansionWay)]
    private let session: Session
    /// The statement that ``lookUp(_:for:)`` runs. Its first parameter is an array of ids.
    private let lookup: SharedStatement

    /// How many records the expansion of one page returns at most.
    private static let expansionLimit = 50_000
    private static let depthLimit = 8
    /// How many records are looked up together at most.
    static let lookupLimit = 1_000

    init(
        _ entity: EntityDefinition,
        _ query: RecordQuery,
        _ expanding: [Expansion],
        for session: Session,
        depth: Int = 0
    ) throws(FieldsealError) {
        guard depth <= Self.depthLimit else {
            throw FieldsealError(.queryDoesNotFit, "$expand may be nested at most \(Self.depthLimit) levels deep.")
        }
        var query = query
        var expansions: [(Expansion, ExpansionWay)] = []
        for request in expanding {
            guard let way = ExpansionWay(request.property, of: entity) else {
                throw FieldsealError(
                    .queryDoesNotFit, "\(entity.logicalName) has no navigation property \(request.property.quotedForMessage).")
            }
            guard case .single(let relationship) = way else {
                expansions.append((request, way))
                continue
            }
            guard request.query.top == nil, request.query.order.isEmpty else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "$top and $orderby of $expand are for collections, and \(request.property.quotedForMessage) is one record.")
            }
            expansions += try Self.alternatives(request, entity.singleValued(all: request.property))
            query.outputs.append(.hidden(.init(relationship.attribute.logicalName)))
        }
        query.nameDistinctColumns(of: entity)
        self.entity = entity
        self.query = query
        self.expansions = expansions
        self.session = session
        plan = try QueryPlan(query, of: entity, session.organization, session.caller)
        lookup = SharedStatement(plan.sql, Array(plan.parameters.dropFirst()))
        // Expansions are checked before anything is read, so that the error does not depend on the records.
        for (request, way) in expansions { _ = try Self.child(request, way, keys: [], session, depth: depth + 1) }
    }

    /// Reads one record without expansions, for a session with the same access as the session that the plan was made for.
    func lookUp(_ id: UUID, for session: Session) async throws -> RecordPage {
        let rows: PostgresResult
        if let found = await session.lookUp(id, with: lookup) {
            rows = found
        } else {
            rows = try await session.deployment.pool.withConnection { try session.run([lookup.statement(for: [id])], on: $0)[0] }
        }
        // The rows may include records that other callers requested in the same statement.
        for row in rows where try row.decode(0, as: UUID.self) == id {
            return RecordPage(shape: plan.shape, records: [try Record(plan.shape, row)], next: nil)
        }
        return RecordPage(shape: plan.shape, records: [], next: nil)
    }

    func run(on connection: isolated PostgresConnection) throws -> RecordPage {
        var count: Int?
        let rows: PostgresResult
        do {
            rows = try session.run([(plan.sql, plan.parameters)], on: connection)[0]
            if let (sql, parameters) = plan.count { count = try connection.query(sql, parameters)[0].decode(0) }
        } catch let error as PostgresError where error.sqlState.hasPrefix("22") {
            throw FieldsealError(.queryDoesNotFit, "A value in this query is out of its type's range.")
        } catch let error as PostgresError where error.isCancelledStatement {
            // The statement was cancelled because the client disconnected, or because it reached its time limit.
            try Task.checkCancellation()
            throw FieldsealError(
                .sqlTimeout,
                "The query took longer than this service allows, and was ended. Ask for fewer records, or with fewer links.")
        }
        var page = try page(rows)
        page.count = count
        for (request, way) in expansions {
            let expanded = try expand(page, request, way, on: connection)
            if let last = page.expanded.indices.last, page.expanded[last].name == expanded.name {
                page.expanded[last].alternatives.append(expanded)
            } else {
                page.expanded.append(expanded)
            }
        }
        return page
    }

    /// The expansions of a single-valued property, one for each entity that its record may be of: an owner is a user or a team.
    /// Each expansion has the requested attributes and expansions that its entity has, and the whole condition.
    private static func alternatives(_ request: Expansion, _ relationships: [EntityRelationship]) throws(FieldsealError)
        -> [(Expansion, ExpansionWay)]
    {
        guard relationships.count > 1 else { return relationships.map { (request, .single($0)) } }
        let entities = relationships.map(\.referenced)
        let names = entities.map(\.logicalName).joined(separator: " nor ")
        for case .column(let column) in request.query.outputs.map(\.value)
        where entities.allSatisfy({ $0.attribute(named: column.name) == nil }) {
            throw FieldsealError(
                request.query.unknownAttributeCode, "Neither \(names) has an attribute \(column.name.quotedForMessage).")
        }
        for expansion in request.expansions where entities.allSatisfy({ ExpansionWay(expansion.property, of: $0) == nil }) {
            throw FieldsealError(
                .queryDoesNotFit, "Neither \(names) has a navigation property \(expansion.property.quotedForMessage).")
        }
        let asked = request.query.outputs.compactMap { output -> String? in
            guard case .column(let column) = output.value, !column.isName else { return nil }
            return entities.lazy.compactMap { $0.attribute(named: column.name)?.propertyName }.first
        }
        return relationships.map { relationship in
            let entity = relationship.referenced
            var own = request
            own.asked = asked
            own.query.outputs.removeAll { output in
                if case .column(let column) = output.value { entity.attribute(named: column.name) == nil } else { true }
            }
            if !request.query.outputs.isEmpty, own.query.outputs.isEmpty {
                own.query.outputs = [.init(.column(.init(entity.primaryID)))]
            }
            own.expansions.removeAll { ExpansionWay($0.property, of: entity) == nil }
            return (own, .single(relationship))
        }
    }

    private func page(_ rows: PostgresResult) throws -> RecordPage {
        let records = try rows.prefix(plan.pageLimit).map { try Record(plan.shape, $0) }
        let remaining = (query.after?.remaining ?? query.top).map { $0 - records.count }
        let next =
            try rows.count > plan.pageLimit && remaining != 0
            ? records.last.map { try plan.token(after: $0.row, remaining: remaining) } : nil
        return RecordPage(shape: plan.shape, records: records, next: next)
    }

    private func expand(
        _ page: RecordPage, _ request: Expansion, _ way: ExpansionWay, on connection: isolated PostgresConnection
    ) throws -> ExpandedProperty {
        let keys = try page.records.compactMap { record -> UUID? in
            if way.isCollection { return record.id }
            guard case .id(let id) = try record.value(of: way.reference) else { return nil }
            return id
        }
        let child = try Self.child(request, way, keys: Array(Set(keys)), session, depth: 1)
        let records = try child.run(on: connection)
        guard records.next == nil else {
            throw FieldsealError(
                .queryDoesNotFit,
                "\(request.property) brings along more than \(Self.expansionLimit) records: ask for smaller pages.")
        }
        return try ExpandedProperty(request, way, records)
    }

    private static func child(_ request: Expansion, _ way: ExpansionWay, keys: [UUID], _ session: Session, depth: Int)
        throws(FieldsealError) -> RetrieveOperation
    {
        let query = way.query(request.query, for: keys, limit: expansionLimit)
        return try RetrieveOperation(way.target, query, request.expansions, for: session, depth: depth)
    }
}
