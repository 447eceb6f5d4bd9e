import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Lists of records: searched, filtered, sorted, paged, exported.
extension Console {
    static let pageSizes = [25, 50, 100]
    static let pageLimit = 10_000
    /// A list with at least this many columns needs a wide window to show each row in one line.
    private static let manyColumns = 5
    /// A label of at most this many letters, such as "To", is on the same line as its value.
    private static let briefLabel = 5

    func entity(_ visit: Visit) throws(FieldsealError) -> EntityDefinition {
        guard let entity = visit.parameter("set").flatMap(EntityCatalog.entity(set:)),
            (Navigation.sets + Navigation.shownSets).contains(where: { $0.logicalName == entity.logicalName })
        else { throw FieldsealError.noPage }
        return entity
    }

    /// Whether a list can be sorted by a column. Columns of references are sorted by the names that they show.
    static func isSortable(_ name: String, _ entity: EntityDefinition) -> Bool {
        guard let attribute = entity[name] else { return false }
        if attribute.logicalName == entity.primaryID { return entity.logicalName == EntityDefinition.userSettings.logicalName }
        if case .memo = attribute.type { return false }
        return true
    }

    @Sendable func list(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        let session = try visit.session()
        var request = try await listRequest(visit, entity)
        request.query.pageSize = request.size
        request.query.offset = request.page * request.size
        request.query.countsRows = true
        let found = try await session.list(entity, request.query)
        let total = found.count ?? found.records.count
        // Since the address was made, records may have been removed, or the page size changed.
        if found.records.isEmpty, request.page > 0 { return .redirect(visit.address(page: Self.lastPage(total, request))) }
        let names = try await RecordNames(try references(found.records, request), session)
        let recipients = try await recipients(found.records, request, session)
        var values = try await listValues(visit, request, total: total)
        let result = entity.logicalName == "mailbox" ? bulkResult(visit) : nil
        let ticked = Set(result?.ticked ?? [])
        let solved = entity.logicalName == "tracelog" ? try await SolvedAlerts.read(found.records, session) : nil
        let disabled = try await disabledUsers(found.records, entity, session)
        values["rows"] = try found.records.map { record in
            let row = try row(record, request, names, recipients, solved: solved, visit, isTicked: ticked.contains(record.id))
            return row.merging(["mark": orFalse(disabled.contains(record.id) ? visit.text("disabled") : nil)]) { _, new in new }
        }
        values["hasRows"] = !found.records.isEmpty
        if let done = visit.query("done"), ["saved", "deleted", "viewKept", "viewRemoved"].contains(done) {
            values["notice"] = visit.text(done)
        }
        for name in ["hasFailures", "hasElsewhere", "isBulkOpen"] { values[name] = false }
        values["bulkProfile"] = ""
        let isBulk = values["isBulk"] as? Bool ?? false
        values["isBulkShown"] = isBulk && !found.records.isEmpty
        if let result {
            let shown = Set(found.records.map(\.id))
            let shownResult = try await bulkValues(result, shown: shown, visit)
            values.merge(shownResult) { _, new in new }
            values["isBulkShown"] = isBulk && (!shown.isEmpty || shownResult["hasElsewhere"] as? Bool == true)
        }
        return .page("list", values)
    }

    /// The user settings in a list whose users are disabled.
    private func disabledUsers(_ records: [Record], _ entity: EntityDefinition, _ session: Session) async throws -> Set<UUID> {
        guard entity.logicalName == EntityDefinition.userSettings.logicalName, !records.isEmpty,
            Navigation.mayList(.systemUser, session.caller.roles)
        else { return [] }
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("systemuserid")))]
        query.filter = .all([
            .compare(.init("isdisabled"), .equal, .bool(true)),
            .isIn(.init("systemuserid"), records.map { .text($0.id.text) }),
        ])
        query.pageSize = records.count
        return Set(try await session.list(.systemUser, query).records.map(\.id))
    }

    /// The last page that has records. This page is before the requested page, which has no records.
    private static func lastPage(_ total: Int, _ request: ListRequest) -> Int {
        max(0, min(request.page - 1, (total + request.size - 1) / request.size - 1))
    }

    private func listValues(_ visit: Visit, _ request: ListRequest, total: Int) async throws -> [String: Any] {
        let entity = request.entity
        let pages = max(1, (total + request.size - 1) / request.size)
        let first = request.page * request.size + 1
        let isMailbox = entity.logicalName == "mailbox"
        let mayCreate = !Navigation.isShownOnly(entity) && Self.may(.create, entity, visit)
        let isBulk = isMailbox && MailboxAction.test.isAllowed(for: visit.roles)
        let filters = ColumnFilter.all(of: entity, for: visit.roles)
        let isFilteredByColumn = filters.contains { visit.filter($0.name) != nil }
        let isNarrowed = request.q != nil || isFilteredByColumn || ["of", "owner", "answer"].contains { visit.filter($0) != nil }
        let isFiltered = isNarrowed || request.state != nil || request.option != nil
        let last = min(total, first + request.size - 1)
        let rangeValues = [
            "first": visit.texts.number(min(first, total)), "last": visit.texts.number(last), "total": visit.texts.number(total),
        ]
        let range: String = total == 0 ? "" : visit.text("range", rangeValues)
        let sizes = Self.pageSizes.map { size -> [String: Any] in ["value": "\(size)", "selected": size == request.size] }
        let export = visit.address(with: ["page": nil]).replacing(
            "/\(entity.entitySetName)", with: "/\(entity.entitySetName)/export.csv", maxReplacements: 1)
        var values: [String: Any] = [
            "title": visit.text(entity.logicalName), "set": entity.entitySetName, "q": request.q ?? "",
            "searched": orFalse(visit.texts.optional("searched:\(entity.logicalName)")), "isFiltered": isFiltered,
            "lead": orFalse(visit.texts.optional("lead:\(entity.logicalName)")),
            "mayCreate": mayCreate, "newText": visit.text("new:\(entity.logicalName)"), "mayConnect": isMailbox && mayCreate,
            "emptyText": emptyText(entity, isFiltered: isFiltered, visit),
            "columns": columns(visit, request), "orders": orders(visit, request), "of": orFalse(visit.filter("of")), "chip": false,
            "owner": orFalse(visit.filter("owner")), "answer": orFalse(visit.filter("answer")),
            "isStatusChosen": request.option != nil,
            "sizes": sizes, "range": range,
            "pages": pageLinks(visit, request.page, pages), "hasPages": pages > 1,
            "clear": "\(visit.root)/records/\(entity.entitySetName)",
            "export": export,
            "filters": filters.map { $0.field(visit) }, "isFilteredByColumn": isFilteredByColumn,
            "views": ListView.menu(entity, visit), "statuses": [[String: Any]](), "tabs": [[String: Any]](),
            "isMany": request.columns.count >= Self.manyColumns, "isBulk": isBulk,
            "mayApprove": MailboxAction.approve.isAllowed(for: visit.roles),
            "returns": visit.address(with: [:]),
        ]
        values.merge(try await ownViews(of: entity.entitySetName, visit)) { own, _ in own }
        values.merge(try await mayComposeValues(entity, visit)) { _, new in new }
        if request.page > 0 { values["previous"] = visit.address(with: ["page": "\(request.page - 1)"]) }
        if request.page + 1 < pages { values["next"] = visit.address(with: ["page": "\(request.page + 1)"]) }
        values["chip"] = try await chips(entity, visit)
        if isMailbox {
            values["tabs"] = try await tabs(visit, request, isNarrowed: isNarrowed)
            if isBulk { values["profiles"] = try await lookupNames(.emailServerProfile, nil, visit) }
        }
        if let name = RecordLayout.of(entity).filter, let attribute = entity[name], let options = attribute.type.options {
            values["statusLabel"] = visit.texts.label(attribute, of: entity)
            values["statuses"] = Self.options(
                options.options.map { ("\($0.value)", visit.texts.option($0.value, of: attribute)) },
                chosen: request.option.map { "\($0)" })
        }
        return values
    }

    /// Whether a list shows only the person's own e-mails, not those of other people in the same mailboxes.
    private static func readsOwnEmailsOnly(_ entity: EntityDefinition, _ visit: Visit) -> Bool {
        entity.logicalName == EntityDefinition.email.logicalName
            && PrivilegeTable.depth(of: .retrieveMultiple, on: entity, for: visit.roles) != .organization
    }

    /// Whether the list shows the related records of one record, without another filter.
    private static func isOnlyOf(_ visit: Visit) -> Bool {
        visit.queries.allSatisfy { ["of", "size", "sort", "page"].contains($0.name) || $0.value.isEmpty }
    }

    /// The text of an empty list. A person who may not connect mailboxes is told whom to ask.
    private func emptyText(_ entity: EntityDefinition, isFiltered: Bool, _ visit: Visit) -> String {
        if Self.readsOwnEmailsOnly(entity, visit) {
            // A mailbox may have e-mails that belong to its former owner, which this person does not see.
            if visit.filter("of") != nil, Self.isOnlyOf(visit) { return visit.text("noEmailOfYoursHere") }
            if !isFiltered { return visit.text("noEmailOfYours") }
        }
        if isFiltered { return visit.text("noneFound") }
        let isForOthers = entity.logicalName == EntityDefinition.mailbox.logicalName && !Self.may(.create, entity, visit)
        return visit.text(isForOthers ? "noMailboxOfYours" : "empty:\(entity.logicalName)")
    }

    /// The values that say whether a person can write e-mails from the list of e-mails and, if not, whom to ask.
    private func mayComposeValues(_ entity: EntityDefinition, _ visit: Visit) async throws -> [String: Any] {
        guard entity.logicalName == "email", Self.may(.create, entity, visit) else { return ["mayCompose": false] }
        if try await maySend(visit) {
            return Self.readsOwnEmailsOnly(entity, visit)
                ? ["mayCompose": true, "lead": visit.text("emailsOfYours")] : ["mayCompose": true]
        }
        guard !Self.may(.create, .mailbox, visit) else { return ["mayCompose": false] }
        let seesSome = try await !mailboxes(1, visit).isEmpty
        return ["mayCompose": false, "lead": visit.text(seesSome ? "sendsFromNone" : "noMailboxOfYours")]
    }

    /// The chips for the records whose related records the list shows.
    private func chips(_ entity: EntityDefinition, _ visit: Visit) async throws -> [[String: Any]] {
        var chips: [Any] = []
        if let target = Self.filterTarget(of: entity), let id = visit.filter("of").flatMap(UUID.init(text:)) {
            chips.append(try await chip("of", [target], id, visit))
        }
        if let id = visit.filter("owner").flatMap(UUID.init(text:)) {
            chips.append(try await chip("owner", [.systemUser], id, visit))
        }
        return chips.compactMap { $0 as? [String: Any] }
    }

    /// - Parameter isNarrowed: Whether the list is searched or filtered by more than the state.
    private func tabs(_ visit: Visit, _ request: ListRequest, isNarrowed: Bool) async throws -> [[String: Any]] {
        guard let counts = try await mailboxCounts(try visit.session()) else { return [] }
        // The numbers count all mailboxes, not only those that a search or filter finds. So a searched or filtered list shows no
        // numbers.
        func number(_ count: Int) -> Any { isNarrowed ? false : visit.texts.number(count) }
        let all: [String: Any] = [
            "text": visit.text("allMailboxes"), "count": number(counts.total), "current": request.state == nil,
            "href": visit.address(with: ["status": nil, "page": nil]),
        ]
        return [all]
            + MailboxState.allCases.filter { counts[$0] > 0 || $0 == request.state }.map { state -> [String: Any] in
                [
                    "text": visit.text("mailboxState:\(state.rawValue)"), "count": number(counts[state]),
                    "current": state == request.state,
                    "href": visit.address(with: ["status": state.rawValue, "page": nil]),
                ]
            }
    }

    /// The choices for sorting, for narrow screens, which have no column headings to click.
    private func orders(_ visit: Visit, _ request: ListRequest) -> [[String: Any]] {
        let chosen = (request.isDescending ? "-" : "") + request.key
        let orders = request.columns.filter { Self.isSortable($0, request.entity) }.flatMap { name in
            [(name, "\(label(name, request.entity, visit)) ↑"), ("-\(name)", "\(label(name, request.entity, visit)) ↓")]
        }
        return Self.options(orders, chosen: chosen)
    }

    private func columns(_ visit: Visit, _ request: ListRequest) -> [[String: Any]] {
        request.columns.map { name in
            let isSorted = name == request.key
            let next = isSorted && !request.isDescending ? "-\(name)" : name
            return [
                "text": label(name, request.entity, visit),
                "href": Self.isSortable(name, request.entity)
                    ? visit.address(with: ["sort": next, "page": nil]) : false as Any,
                "sorted": isSorted ? (request.isDescending ? "descending" : "ascending") : false as Any,
            ]
        }
    }

    func label(_ name: String, _ entity: EntityDefinition, _ visit: Visit) -> String {
        entity[name].map { visit.texts.label($0, of: entity) } ?? visit.text(name)
    }

    private func pageLinks(_ visit: Visit, _ page: Int, _ pages: Int) -> [[String: Any]] {
        let wanted = Set([0, pages - 1] + Array(page - 2...page + 2)).filter { (0..<pages).contains($0) && $0 <= Self.pageLimit }
            .sorted()
        var links: [[String: Any]] = []
        for (index, number) in wanted.enumerated() {
            if index > 0, number > wanted[index - 1] + 1 { links.append(["isGap": true, "isNow": false, "text": "…"]) }
            links.append([
                "isGap": false, "isNow": number == page, "text": visit.texts.number(number + 1),
                "href": visit.address(with: ["page": number == 0 ? nil : "\(number)"]),
            ])
        }
        return links
    }

    private func references(_ records: [Record], _ request: ListRequest) throws -> [String: Set<UUID>] {
        var references: [String: Set<UUID>] = [:]
        for record in records {
            for name in request.columns {
                guard let attribute = request.entity[name], case .id(let id) = try record.value(of: name) else { continue }
                let targets = attribute.type.isReference ? attribute.type.targets : ["systemuser"]
                for target in targets { references[target, default: []].insert(id) }
            }
        }
        return references
    }

    /// The recipients of the e-mails of a list, by the ids of the e-mails. The attribute `torecipients` is too short for many
    /// recipients.
    private func recipients(
        _ records: [Record], _ request: ListRequest, _ session: Session
    ) async throws -> [UUID: [String]] {
        guard request.entity.logicalName == EntityDefinition.email.logicalName, !records.isEmpty else { return [:] }
        return try await session.recipients(ofReadable: records.map(\.id))
    }

    private func row(
        _ record: Record, _ request: ListRequest, _ names: RecordNames, _ recipients: [UUID: [String]], solved: SolvedAlerts?,
        _ visit: Visit, isTicked: Bool
    ) throws -> [String: Any] {
        let isSolved = try solved?.contains(record) ?? false
        let cells = try request.columns.enumerated().map { index, name -> [String: Any] in
            let value = try record.value(of: name)
            var cell: [String: Any] = [
                "label": label(name, request.entity, visit), "href": false, "badge": false, "time": false, "text": "",
                "kind": kind(name, index, request, visit), "parts": [[String: Any]](), "above": false,
            ]
            if name == "state" {
                let state = try MailboxState(record)
                cell["badge"] = ["style": state.style, "text": visit.text("mailboxState:\(state.rawValue)")]
            } else if let attribute = request.entity[name] {
                switch value {
                case .date(let date): cell["time"] = visit.texts.timeAgo(date)
                case .int where name == "level" && isSolved:
                    cell["badge"] = ["style": "good", "text": visit.text("alertSolved")]
                case .int(let number) where ["statuscode", "level"].contains(name):
                    cell["badge"] = [
                        "style": Self.style(number, name), "text": visit.texts.option(number, of: attribute),
                    ]
                case .id(let id): cell["text"] = ActorName.shown(systemUser: names.shown(id, visit.texts), visit.texts)
                case .text(let text) where request.entity.logicalName == "tracelog" && name == "text" || name == "lastsyncerror":
                    cell["text"] = visit.texts.toldReport(text)
                case .text(let text) where name == "sender" && request.entity.logicalName == EntityDefinition.email.logicalName:
                    cell["text"] = text
                    let sender = try SentName.read(Self.text(Self.additional, of: record)) ?? Self.text(Self.senderName, of: record)
                    let isOther = !sender.isEmpty && sender.lowercased() != text.lowercased()
                    cell["above"] = orFalse(isOther ? sender.withoutDirections : nil)
                case .text(let text) where name == "torecipients":
                    cell["text"] = RecipientList(text, all: recipients[record.id]).short
                default: cell["text"] = visit.texts.shown(value, attribute)
                }
            }
            if index == 0 {
                let text = cell["text"] as? String ?? ""
                cell["text"] = !text.isEmpty ? text : visit.text(request.entity.logicalName == "email" ? "noSubject" : "unnamed")
                cell["href"] = "\(visit.root)/records/\(request.entity.entitySetName)/\(record.id.text)"
            }
            if let text = cell["text"] as? String { cell["text"] = text.withoutDirections }
            return cell
        }
        let name = cells.first?["text"] as? String ?? ""
        return [
            "cells": zip(request.columns, cells).map(Self.withBreaks), "id": record.id.text, "name": name, "isTicked": isTicked,
        ]
    }

    /// The classes of a column's cells. On a narrow screen the name, the state and the time come first.
    private func kind(_ name: String, _ index: Int, _ request: ListRequest, _ visit: Visit) -> String {
        if index == 0 { return "first" }
        if ["state", "statuscode", "level"].contains(name) { return "short mark" }
        if case .dateTime? = request.entity[name]?.type { return "short when" }
        return label(name, request.entity, visit).count <= Self.briefLabel ? "side brief" : "side"
    }

    /// Up to how many characters an address stays on one line in its column.
    private static let wholeAddresses = ["sender": 28, "emailaddress": 24, "emailusername": 24]

    /// The cell with its text in parts, after which a line may break: `parts` has all parts except the last, and `text` has the
    /// last part.
    private static func withBreaks(_ column: String, _ cell: [String: Any]) -> [String: Any] {
        guard let text = cell["text"] as? String, let kind = cell["kind"] as? String else { return cell }
        let breakable = BreakableText(text, whole: wholeAddresses[column] ?? 0)
        let more: String = breakable.isWhole ? " address whole" : breakable.isAddress ? " address" : ""
        let parts = breakable.parts.dropLast().map { ["text": $0.text, "isAlways": $0.isAlways] as [String: Any] }
        return cell.merging([
            "parts": parts, "text": breakable.parts.last?.text ?? "", "kind": kind + more,
        ]) { _, new in new }
    }

    /// The colors of an e-mail's and an alert's state.
    private static func style(_ number: Int64, _ attribute: String) -> String {
        switch (attribute, number) {
        case ("level", 3): "bad"
        case ("level", 2): "warn"
        case ("statuscode", _): EmailStatus(rawValue: number)?.style ?? ""
        default: ""
        }
    }

    @Sendable func exportRecords(_ visit: Visit) async throws -> PageResponse {
        let entity = try entity(visit)
        let session = try visit.session()
        let request = try await listRequest(visit, entity)
        var query = request.query
        query.pageSize = 1_000
        let columns = ExportColumn.all(request, visit.texts)
        query.outputs = ExportColumn.attributes(request).map { .init(.column(.init($0))) }
        let (first, rest) = (try await session.list(entity, query), query)
        return PageResponse(
            content: .stream(
                name: "\(session.organization.name)-\(ExportColumn.file(of: entity)).csv", type: "text/csv; charset=utf-8"
            ) {
                write in
                try await write(Array(CSV.head(columns.map(\.heading)).utf8))
                var (page, query) = (first, rest)
                while true {
                    let names = try await RecordNames(try references(page.records, request), session)
                    let recipients = try await recipients(page.records, request, session)
                    let lines = try page.records.map { record in
                        CSV.line(try columns.map { try $0.text(record, names, recipients, visit.texts) })
                    }
                    try await write(Array(lines.joined().utf8))
                    guard let next = page.next else { return }
                    query.after = next
                    page = try await session.list(entity, query)
                }
            })
    }
}
