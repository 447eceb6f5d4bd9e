import Foundation
import JSON
import Model
import Records

// The contents of a list's address.
extension Console {
    /// A request for a page of a list: its columns, search, conditions and order, from the page's address.
    struct ListRequest {
        let entity: EntityDefinition
        let columns: [String]
        let q: String?
        let state: MailboxState?
        let option: Int64?
        let key: String
        let isDescending: Bool
        let size: Int
        let page: Int
        var query = RecordQuery()
    }

    /// The list that the page's address requests. A search in the list of user settings also searches the names of their users,
    /// and a search in the list of e-mails also searches the addresses of their senders and recipients.
    func listRequest(_ visit: Visit, _ entity: EntityDefinition) async throws -> ListRequest {
        var found = FoundElsewhere()
        switch entity.logicalName {
        case EntityDefinition.userSettings.logicalName:
            if let q = visit.filter("q") { found.searched = try await users(named: q, visit) }
        case EntityDefinition.email.logicalName:
            if let q = visit.filter("q") { found.searched = try await emails(with: q, Participation.allCases, visit) }
            if let q = visit.filter(Self.recipientFilter) { found.received = try await emails(with: q, [.to], visit) }
        default: break
        }
        return try listRequest(visit, entity, found)
    }

    /// Records that a search finds by the values of other records.
    private struct FoundElsewhere {
        /// What the search of the list finds.
        var searched: [UUID] = []
        /// The e-mails that the filter of recipients finds.
        var received: [UUID] = []
    }

    /// The parameter that filters e-mails by a recipient. The attribute has only the first ones of many recipients.
    private static let recipientFilter = "\(ColumnFilter.prefix)torecipients"
    /// How many users a searched name finds at most.
    private static let namedUsers = 1_000

    private func users(named q: String, _ visit: Visit) async throws -> [UUID] {
        guard let name = EntityDefinition.systemUser.primaryName, Navigation.mayList(.systemUser, visit.roles) else { return [] }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("systemuserid")))]
        query.filter = .like(.init(name), .holding(q))
        query.pageSize = Self.namedUsers
        return try await visit.session().list(.systemUser, query).records.map(\.id)
    }

    /// The e-mails with an address that contains a text: those of the newest ``RecordQuery/pageLimit`` such addresses.
    ///
    /// One scan of the addresses is faster than a condition on them for each e-mail, which PostgreSQL does not run in parallel.
    private func emails(with q: String, _ kinds: [Participation], _ visit: Visit) async throws -> [UUID] {
        guard Navigation.mayList(.activityParty, visit.roles) else { return [] }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("activityid")))]
        query.filter = .all([
            .like(.init("addressused"), .holding(q)), .isIn(.init("participationtypemask"), kinds.map { .number($0.sql) }),
        ])
        query.order = [.init(.column(.init("activitypartyid")), descending: true)]
        let found = try await visit.session().list(.activityParty, query).records.compactMap { party -> UUID? in
            if case .id(let id) = try party.value(of: "activityid") { id } else { nil }
        }
        return Array(Set(found))
    }

    private func listRequest(
        _ visit: Visit, _ entity: EntityDefinition, _ found: FoundElsewhere
    ) throws(FieldsealError) -> ListRequest {
        let layout = RecordLayout.of(entity)
        let sort = visit.query("sort") ?? ""
        let sortable = layout.columns.filter { Self.isSortable($0, entity) && Self.isNamed($0, entity, visit) }
        let isByTime = Navigation.isShownOnly(entity) && sort.isEmpty
        let key =
            isByTime ? layout.columns[layout.columns.count - 1] : sortable.first { $0 == sort.trimmingPrefix("-") } ?? sortable[0]
        let size = visit.query("size").flatMap { Int($0) }.flatMap { Self.pageSizes.contains($0) ? $0 : nil } ?? Self.pageSizes[0]
        var request = ListRequest(
            entity: entity, columns: layout.columns.filter { Self.isNamed($0, entity, visit) }, q: visit.filter("q"),
            state: entity.logicalName == "mailbox" ? visit.filter("status").flatMap(MailboxState.init(rawValue:)) : nil,
            option: layout.filter == nil ? nil : visit.filter("status").flatMap { Int64($0) }, key: key,
            isDescending: isByTime || sort.hasPrefix("-"), size: size,
            page: max(0, min(Int(visit.query("page") ?? "") ?? 0, Self.pageLimit)))
        var names = request.columns.filter { entity[$0] != nil }
        if entity.logicalName == "mailbox" { names += MailboxState.columns.filter { !names.contains($0) } }
        if entity.logicalName == "tracelog" { names += SolvedAlerts.columns.filter { !names.contains($0) } }
        if entity.logicalName == EntityDefinition.email.logicalName {
            names += [Self.senderName, Self.additional]
        }
        request.query.outputs = names.map { .init(.column(.init($0))) }
        Self.order(&request, visit)
        var conditions: [Filter] = []
        if let q = request.q {
            let texts = (layout.columns + layout.searched).filter { entity[$0]?.type.isSearched == true }
            conditions.append(.any(texts.map { .like(.init($0), .holding(q)) } + Self.isOne(of: found.searched, entity)))
        }
        if let state = request.state { conditions.append(state.filter) }
        if let option = request.option, let name = layout.filter {
            conditions.append(.compare(.init(name), .equal, .number("\(option)")))
        }
        conditions += related(visit, entity)
        if entity.logicalName == "email", visit.filter("answer") == "none" { conditions += Self.isUnanswered }
        conditions += try columnConditions(visit, entity, found)
        if !conditions.isEmpty { request.query.filter = .all(conditions) }
        return request
    }

    /// Sorts a list. The settings of a user are sorted by the user's name, which another record has.
    private static func order(_ request: inout ListRequest, _ visit: Visit) {
        let (entity, user) = (request.entity, EntityDefinition.systemUser)
        var column = RecordQuery.Column(request.key)
        if request.key == entity.primaryID, Navigation.mayList(user, visit.roles), let name = user.primaryName {
            request.query.links = [
                .init(user.logicalName, from: user.primaryID, to: entity.primaryID, alias: "user", isOuter: true)
            ]
            column = .init(name, alias: "user")
        }
        request.query.order = [.init(.column(column), descending: request.isDescending)]
    }

    /// The attribute whose value a list shows with the sender's address.
    static let senderName = "emailsendername"
    /// The attribute with the name that a received e-mail has for a user or a queue.
    static let additional = "activityadditionalparams"

    /// The condition for received e-mails that are unanswered: no reply was sent, and none is waiting to be sent.
    private static var isUnanswered: [Filter] {
        let sent: [EmailStatus] = [.completed, .sent, .pendingSend, .sending]
        let isReply = Filter.all([
            .compare(.init("directioncode", alias: "answer"), .equal, .bool(true)),
            .isIn(.init("statuscode", alias: "answer"), sent.map { .number("\($0.rawValue)") }),
        ])
        let answers = Filter.Collection("email_email_parentactivityid", path: [])
        return [
            .compare(.init("directioncode"), .equal, .bool(false)),
            .not(.lambda(answers, variable: "answer", isReply, isAll: false)),
        ]
    }

    /// Whether the person may read the names of the records that a column refers to. If not, the column would show only ids.
    private static func isNamed(_ column: String, _ entity: EntityDefinition, _ visit: Visit) -> Bool {
        guard let attribute = entity[column], attribute.type.isReference else { return true }
        let targets = attribute.type.targets.compactMap { EntityCatalog.entity($0) }
        return targets.isEmpty || targets.contains { Navigation.mayList($0, visit.roles) }
    }

    /// The conditions on single columns.
    ///
    /// - Throws: ``FieldsealError`` naming an unknown condition. If the condition were ignored, the list would show records
    ///   that the person did not ask for.
    private func columnConditions(
        _ visit: Visit, _ entity: EntityDefinition, _ found: FoundElsewhere
    ) throws(FieldsealError) -> [Filter] {
        let filters = ColumnFilter.all(of: entity, for: visit.roles)
        var conditions: [Filter] = []
        for (name, _) in visit.queries where name.hasPrefix(ColumnFilter.prefix) {
            let (filter, value) = (filters.first { $0.name == name }, visit.filter(name))
            if filter != nil, value == nil { continue }
            guard let condition = filter?.condition(value ?? "") else {
                throw FieldsealError(.badRequest, visit.text("unknownFilter", ["filter": "\(name)=\(value ?? "")"]))
            }
            let others = name == Self.recipientFilter ? Self.isOne(of: found.received, entity) : []
            conditions.append(others.isEmpty ? condition : .any([condition] + others))
        }
        return conditions
    }

    private static func isOne(of ids: [UUID], _ entity: EntityDefinition) -> [Filter] {
        ids.isEmpty ? [] : [.isIn(.init(entity.primaryID), ids.map { .text($0.text) })]
    }

    /// The conditions that limit a list to the records of one mailbox, server profile or person, such as a mailbox's e-mails.
    private func related(_ visit: Visit, _ entity: EntityDefinition) -> [Filter] {
        let owner = Self.isOwnedWithPasswords(entity) ? visit.filter("owner").flatMap(UUID.init(text:)) : nil
        guard let owner else { return relatedToRecord(visit, entity) }
        return relatedToRecord(visit, entity) + [Filter.compare(.init("ownerid"), .equal, .text(owner.text))]
    }

    private func relatedToRecord(_ visit: Visit, _ entity: EntityDefinition) -> [Filter] {
        guard let id = visit.filter("of").flatMap(UUID.init(text:)) else { return [] }
        switch entity.logicalName {
        case "email":
            return [
                .any([
                    .compare(.init("receivingmailboxid"), .equal, .text(id.text)),
                    .compare(.init("sendermailboxid"), .equal, .text(id.text)),
                ])
            ]
        case "tracelog": return [.compare(.init("regardingobjectid"), .equal, .text(id.text))]
        case "mailbox": return [.compare(.init("emailserverprofile"), .equal, .text(id.text))]
        default: return []
        }
    }
}

extension AttributeType {
    /// Whether the search of a list includes attributes of this type.
    fileprivate var isSearched: Bool {
        switch self {
        case .string, .memo: true
        default: false
        }
    }
}
