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

    /// Suggestions of mailboxes that e-mails can be sent from.
    func senderNames(_ text: String?, _ visit: Visit) async throws -> [String] {
        var conditions = [Self.sendingMailboxes]
        if let text { conditions.append(.any(["name", "emailaddress"].map { .like(.init($0), .holding(text)) })) }
        return try await mailboxes(Self.offered, where: .all(conditions), visit).map(\.name)
    }

    /// Name suggestions for a field with many records, while the person types.
    @Sendable func suggestions(_ visit: Visit) async throws -> PageResponse {
        guard let entity = visit.parameter("entity").flatMap({ EntityCatalog.entity($0) }) else { throw FieldsealError.noPage }
        if entity.logicalName == EntityDefinition.mailbox.logicalName, visit.query("for") == "sending" {
            return .json(["names": .array(try await senderNames(visit.filter("q"), visit).map { .string($0) })])
        }
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
            for (condition, several) in Self.conditions(entity, text) {
                var query = RecordQuery()
                query.outputs = [.init(.column(.init(entity.primaryID)))]
                query.filter = condition
                query.pageSize = 2
                let found = try await session.list(entity, query).records
                if found.count == 1 { return (entity, found[0].id) }
                if found.count > 1 { throw FieldsealError(.invalidArgument, visit.text(several, ["name": text])) }
            }
        }
        throw FieldsealError(.invalidArgument, visit.text("lookupNone", ["name": text]))
    }

    /// What an entered text may be of a record, in order, and the text for several records of which it is that: the name; of a
    /// mailbox also the address, or `Name <address>`.
    private static func conditions(_ entity: EntityDefinition, _ text: String) -> [(Filter, several: String)] {
        guard let primary = entity.primaryName else { return [] }
        func equals(_ name: String, _ text: String) -> Filter { .compare(.init(name), .equal, .text(text)) }
        guard entity.logicalName == EntityDefinition.mailbox.logicalName else {
            return [(equals(primary, text), "lookupSeveral")]
        }
        var conditions = [
            (equals(primary, text), several: "lookupSeveralMailboxes"), (equals("emailaddress", text), several: "lookupSeveral"),
        ]
        if let open = text.lastIndex(of: "<"), text.hasSuffix(">") {
            let name = text[..<open].trimmingCharacters(in: .whitespaces)
            let address = String(text[text.index(after: open)...].dropLast())
            conditions.append((.all([equals(primary, name), equals("emailaddress", address)]), several: "lookupSeveral"))
        }
        return conditions
    }
}
