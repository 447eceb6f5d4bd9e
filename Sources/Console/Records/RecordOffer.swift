import Foundation
import JSON
import Model
import Records
import Tenancy

/// A record as a lookup offers it. Records with the same name are distinguished by their server or address, then by their
/// owner, and last by their id.
struct RecordOffer {
    let id: UUID
    private let name: String
    private let details: [String]
    private let isMailbox: Bool
    /// The text that means only this record.
    private(set) var text: String

    /// The separator between the name and what distinguishes the record.
    static let separator = " · "

    /// Attributes that distinguish records with the same name. The first of these attributes that has a value is shown.
    private static let telling = [
        "incomingserverlocation", "outgoingserverlocation", "emailaddress", "internalemailaddress", "domainname",
    ]

    /// Some records in the order of their names, as far as the person may see them.
    ///
    /// - Parameter unnamed: The text in place of a missing name. Nil leaves out records without a name.
    static func read(
        _ entity: EntityDefinition, where filter: Filter?, limit: Int, _ session: Session, _ texts: Texts, unnamed: String? = nil
    ) async throws -> [RecordOffer] {
        guard let primary = entity.primaryName, Navigation.mayList(entity, session.caller.roles) else { return [] }
        let telling = telling.filter { entity[$0] != nil }
        let isMailbox = entity.logicalName == EntityDefinition.mailbox.logicalName
        let isUser = entity.logicalName == EntityDefinition.systemUser.logicalName
        // The address is enough to distinguish mailboxes.
        let hasOwner = !isMailbox && entity["ownerid"] != nil
        var query = RecordQuery()
        query.outputs = ([primary] + telling + (hasOwner ? ["ownerid"] : [])).map { .init(.column(.init($0))) }
        query.filter = filter
        query.order = [.init(.column(.init(primary)))]
        query.pageSize = limit
        let records = try await session.list(entity, query).records
        func text(_ name: String, _ record: Record) throws -> String? {
            if case .text(let text) = try record.value(of: name), !text.isEmpty { text } else { nil }
        }
        var owners: Set<UUID> = []
        if hasOwner {
            for record in records { if case .id(let owner) = try record.value(of: "ownerid") { owners.insert(owner) } }
        }
        let ownerNames = try await RecordNames(["systemuser": owners, "team": owners], session)
        let offers = try records.compactMap { record -> RecordOffer? in
            guard let stored = try text(primary, record) ?? unnamed else { return nil }
            let name = isUser ? ActorName.shown(systemUser: stored, texts) : stored
            var details = try telling.lazy.compactMap { try text($0, record) }.prefix(1).map { $0 }
            if hasOwner, case .id(let owner) = try record.value(of: "ownerid"), let name = ownerNames[owner] {
                details.append(name)
            }
            return RecordOffer(id: record.id, name: name, details: details, isMailbox: isMailbox, text: name)
        }
        return toldApart(offers)
    }

    private static func toldApart(_ offers: [RecordOffer]) -> [RecordOffer] {
        func repeated(_ texts: [String]) -> Set<String> {
            Set(Dictionary(grouping: texts.map { $0.lowercased() }) { $0 }.filter { $0.value.count > 1 }.keys)
        }
        let names = repeated(offers.map(\.name))
        let details = repeated(offers.map(\.detailed))
        return offers.map { offer in
            guard names.contains(offer.name.lowercased()) else { return offer }
            var offer = offer
            offer.text = details.contains(offer.detailed.lowercased()) ? offer.whole : offer.detailed
            return offer
        }
    }

    /// The name with what distinguishes the record.
    private var detailed: String {
        if isMailbox { return details.first.map { "\(name) <\($0)>" } ?? name }
        return ([name] + details).joined(separator: Self.separator)
    }

    private var whole: String { "\(detailed)\(Self.separator)\(id.text)" }

    /// Whether an entered text is the name of this record with what distinguishes it.
    func isMeant(by text: String) -> Bool { detailed.lowercased() == text.lowercased() }
}
