import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// References to records, which people enter by name instead of by id.
extension Console {
    /// How many names a field offers at most.
    private static let offered = 50

    /// The entities whose records a field may refer to.
    static func targets(_ attribute: AttributeDefinition) -> [EntityDefinition] {
        attribute.type.targets.compactMap { EntityCatalog.entity($0) }.filter { $0.primaryName != nil }
    }

    /// Names of records that contain a text, in order.
    func lookupNames(_ entity: EntityDefinition, _ text: String?, _ session: Session) async throws -> [String] {
        guard let primary = entity.primaryName, Navigation.mayList(entity, session.caller.roles) else { return [] }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init(primary)))]
        query.order = [.init(.column(.init(primary)))]
        query.pageSize = Self.offered
        if let text { query.filter = .like(.init(primary), .holding(text)) }
        return try await session.list(entity, query).records.compactMap { record in
            if case .text(let name) = try record.value(of: primary), !name.isEmpty { name } else { nil }
        }
    }

    /// Name suggestions for a field with many records, while the person types.
    @Sendable func suggestions(_ visit: Visit) async throws -> Reply {
        guard let entity = visit.parameter("entity").flatMap({ EntityCatalog.entity($0) }) else { throw FieldsealError.noPage }
        let names = try await lookupNames(entity, visit.filter("q"), try visit.session())
        return .json(["names": .array(names.map { .string($0) })])
    }

    /// The record with the entered name.
    ///
    /// - Throws: ``FieldsealError`` that says what was found instead of one record.
    func lookedUp(_ text: String, _ attribute: AttributeDefinition, _ visit: Visit) async throws -> (
        entity: EntityDefinition, id: UUID
    ) {
        let session = try visit.session()
        if let id = UUID(text: text.lowercased()), let entity = Self.targets(attribute).first { return (entity, id) }
        for entity in Self.targets(attribute) where Navigation.mayList(entity, session.caller.roles) {
            guard let primary = entity.primaryName else { continue }
            var query = RecordQuery()
            query.outputs = [.init(.column(.init(primary)))]
            query.filter = .compare(.init(primary), .equal, .text(text))
            query.pageSize = 2
            let found = try await session.list(entity, query).records
            if found.count == 1 { return (entity, found[0].id) }
            if found.count > 1 { throw FieldsealError(.invalidArgument, visit.text("lookupSeveral", ["name": text])) }
        }
        throw FieldsealError(.invalidArgument, visit.text("lookupNone", ["name": text]))
    }
}
