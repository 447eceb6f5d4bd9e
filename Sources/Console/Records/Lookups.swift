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
    /// How many records with the same name an error lists.
    private static let toldChoices = 5

    /// The entities whose records a field may refer to.
    static func targets(_ attribute: AttributeDefinition) -> [EntityDefinition] {
        attribute.type.targets.compactMap { EntityCatalog.entity($0) }.filter { $0.primaryName != nil }
    }

    /// The texts that identify records whose names contain a text, in the order of names.
    func lookupNames(_ entity: EntityDefinition, _ text: String?, _ visit: Visit) async throws -> [String] {
        let name = text.map { $0.components(separatedBy: RecordOffer.separator)[0] }
        return try await offers(entity, matching: name, visit).map(\.text)
    }

    /// The records that a lookup offers: all, or those whose names contain a text.
    func offers(_ entity: EntityDefinition, matching text: String?, _ visit: Visit) async throws -> [RecordOffer] {
        guard let primary = entity.primaryName else { return [] }
        // Disabled users are not offered. A person can type the name of a disabled user, which is refused with the reason.
        let isNamed: Filter? = text.map { .like(.init(primary), .holding($0)) }
        let conditions = [isNamed, Self.isEnabled(entity)].compactMap(\.self)
        return try await RecordOffer.read(
            entity, where: conditions.isEmpty ? nil : .all(conditions), limit: Self.offered, try visit.session(), visit.texts)
    }

    /// The condition for users who are not disabled; nil for other records.
    private static func isEnabled(_ entity: EntityDefinition) -> Filter? {
        guard entity.logicalName == EntityDefinition.systemUser.logicalName else { return nil }
        return .any([.isNull(.init("isdisabled")), .compare(.init("isdisabled"), .equal, .bool(false))])
    }

    /// Suggestions of mailboxes that e-mails can be sent from.
    func senderNames(_ text: String?, _ visit: Visit) async throws -> [String] {
        var conditions = [Self.sendingMailboxes, try await permittedMailboxes(visit)]
        if let text { conditions.append(.any(["name", "emailaddress"].map { .like(.init($0), .holding(text)) })) }
        return try await mailboxes(Self.offered, where: .all(conditions), visit).map(\.name)
    }

    /// Name suggestions for a field with many records, while the person types.
    @Sendable func suggestions(_ visit: Visit) async throws -> PageResponse {
        guard let entity = visit.parameter("entity").flatMap({ EntityCatalog.entity($0) }) else { throw FieldsealError.noPage }
        if entity.logicalName == EntityDefinition.mailbox.logicalName, visit.query("for") == "sending" {
            return .json(["names": .array(try await senderNames(visit.filter("q"), visit).map { .string($0) })])
        }
        var names = try await lookupNames(entity, visit.filter("q"), visit)
        if let other = visit.query("also").flatMap({ EntityCatalog.entity($0) }) {
            names += try await lookupNames(other, visit.filter("q"), visit)
        }
        return .json(["names": .array(names.map { .string($0) })])
    }

    /// The address of a field's suggestions, to which the typed text is added. An owner may be a person or a team.
    static func lookupAddress(_ attribute: AttributeDefinition, _ visit: Visit) -> String {
        let targets = targets(attribute).map(\.logicalName)
        guard let first = targets.first else { return "" }
        let isOwner = targets.dropFirst().contains(lookupsBesides[0])
        return "\(visit.root)/lookup/\(first)?\(isOwner ? "also=\(lookupsBesides[0])&" : "")q="
    }

    /// Kinds of records that suggestions may include in addition to the first kind.
    static let lookupsBesides = [EntityDefinition.team.logicalName]

    /// Finds the record by its name, or by the text with which a lookup offers it.
    ///
    /// - Throws: ``FieldsealError`` that says what was found instead of one record.
    func lookedUp(_ text: String, _ attribute: AttributeDefinition, _ visit: Visit) async throws -> (
        entity: EntityDefinition, id: UUID
    ) {
        let session = try visit.session()
        if let id = UUID(text: text.lowercased()), let entity = Self.targets(attribute).first { return (entity, id) }
        for entity in Self.targets(attribute) where Navigation.mayList(entity, session.caller.roles) {
            for condition in Self.conditions(entity, text, visit.texts) {
                let found = try await RecordOffer.read(
                    entity, where: condition, limit: Self.offered, session, visit.texts, unnamed: "")
                if found.count == 1 { return (entity, found[0].id) }
                guard found.count > 1 else { continue }
                // Of several users with the same name, the one who is not disabled is meant.
                if let isEnabled = Self.isEnabled(entity) {
                    let enabled = try await RecordOffer.read(
                        entity, where: .all([condition, isEnabled]), limit: 2, session, visit.texts, unnamed: "")
                    if enabled.count == 1 { return (entity, enabled[0].id) }
                }
                let choices = found.prefix(Self.toldChoices).map(\.text).joined(separator: "; ")
                throw FieldsealError(.invalidArgument, visit.text("lookupSeveral", ["name": text, "choices": choices]))
            }
            if let id = try await offered(entity, as: text, session, visit.texts) { return (entity, id) }
        }
        throw FieldsealError(.invalidArgument, visit.text("lookupNone", ["name": text]))
    }

    /// Finds the record by the text with which a lookup offers it, if the text has more than the name.
    private func offered(_ entity: EntityDefinition, as text: String, _ session: Session, _ texts: Texts) async throws -> UUID? {
        let parts = text.components(separatedBy: RecordOffer.separator)
        guard let primary = entity.primaryName, parts.count > 1 else { return nil }
        if let id = parts.last.flatMap({ UUID(text: $0.lowercased()) }) {
            let found = try await RecordOffer.read(
                entity, where: .compare(.init(entity.primaryID), .equal, .text(id.text)), limit: 1, session, texts, unnamed: "")
            return found.first?.id
        }
        // A name may contain the separator.
        for end in parts.indices.dropFirst().prefix(Self.toldChoices) {
            let name = parts[..<end].joined(separator: RecordOffer.separator)
            let named = try await RecordOffer.read(
                entity, where: Self.equals(entity, primary, name, texts), limit: Self.offered, session, texts)
            let found = named.filter { $0.isMeant(by: text) }
            if found.count == 1 { return found[0].id }
        }
        return nil
    }

    /// The condition for a name. The name of a client is shown without the number sign that its user has.
    private static func equals(_ entity: EntityDefinition, _ primary: String, _ name: String, _ texts: Texts) -> Filter {
        let isName = Filter.compare(.init(primary), .equal, .text(name))
        guard entity.logicalName == EntityDefinition.systemUser.logicalName, let client = ActorName.client(name, texts) else {
            return isName
        }
        return .any([isName, .compare(.init(primary), .equal, .text("# \(client)"))])
    }

    /// The conditions for an entered text, in order: the name; for a mailbox also the address, or `Name <address>`.
    private static func conditions(_ entity: EntityDefinition, _ text: String, _ texts: Texts) -> [Filter] {
        guard let primary = entity.primaryName else { return [] }
        func equals(_ name: String, _ text: String) -> Filter { .compare(.init(name), .equal, .text(text)) }
        guard entity.logicalName == EntityDefinition.mailbox.logicalName else { return [Self.equals(entity, primary, text, texts)] }
        var conditions = [equals(primary, text), equals("emailaddress", text)]
        if let open = text.lastIndex(of: "<"), text.hasSuffix(">") {
            let name = text[..<open].trimmingCharacters(in: .whitespaces)
            let address = String(text[text.index(after: open)...].dropLast())
            conditions.append(.all([equals(primary, name), equals("emailaddress", address)]))
        }
        return conditions
    }
}
