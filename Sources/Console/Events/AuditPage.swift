import Authentication
import Foundation
import JSON
import Model
import Records
import Tenancy

// The changes of records: the actor, the attributes, and the old and new values.
extension Console {
    /// The entities whose records' changes are audited.
    static let auditedEntities: [EntityDefinition] = Navigation.sets + [.systemUser, .team]
    private static let auditPageSize = 50
    private static let auditColumns = [
        "createdon", "operation", "objectid", "objecttypecode", "useridname", "databaserole", "changedata",
    ]

    @Sendable func audit(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let id = visit.query("id").flatMap(UUID.init(text:))
        let table = visit.filter("table").flatMap { name in Self.auditedEntities.first { $0.logicalName == name } }
        let operation = visit.filter("operation").flatMap { Int($0) }.flatMap { (1...3).contains($0) ? $0 : nil }
        let isFiltered: Bool = ["table", "operation", "person", "from", "until"].contains { visit.filter($0) != nil }
        let tables = Self.auditedEntities.map { entity in (entity.logicalName, visit.text(entity.logicalName)) }
        let operations = (1...3).map { number in ("\(number)", visit.text("operation:\(number)")) }
        let export = visit.address(with: ["page": nil, "before": nil]).replacing(
            "/audit", with: "/audit.csv", maxReplacements: 1)
        // A filter may match few changes, so only this number of the newest changes is searched. The next page continues after
        // these changes.
        let isSearched: Bool = id == nil && (table != nil || operation != nil || visit.filter("person") != nil)
        let moment =
            isSearched ? try await AuditReading(session).momentOfChange(Self.searchedChanges, before: visit.endOfChanges) : nil
        // The time is rounded in the same way as the times in the address of the next page.
        let oldest = moment.flatMap { ISO8601.date(ISO8601.text($0)) }
        let found = try await session.list(.audit, auditQuery(visit, table, id, operation, oldest))
        let page = Int(visit.query("page") ?? "") ?? 0
        if found.records.isEmpty, page > 0 { return .redirect(visit.address(page: 0)) }
        var values: [String: Any] = [
            "title": visit.text("audit"), "lead": visit.text("auditLead"),
            "tables": Self.options(tables, chosen: table?.logicalName),
            "operations": Self.options(operations, chosen: operation.map { "\($0)" }),
            "person": visit.filter("person") ?? "", "people": try await actorNames(session),
            "lines": try await AuditLines(visit, session).lines(found.records), "isFiltered": isFiltered, "export": export,
        ]
        values.merge(try await ownViews(of: "audit", visit)) { own, _ in own }
        values["notice"] = visit.viewNotice
        values.merge(visit.periodValues) { _, new in new }
        if let id {
            values["id"] = id.text
            let names = try await RecordNames(
                Dictionary(uniqueKeysWithValues: Self.auditedEntities.map { ($0.logicalName, Set([id])) }), session)
            values["lead"] = visit.text("auditOf", ["name": names.named(id, visit.texts) ?? id.text])
        }
        if page > 0 { values["previous"] = visit.address(with: ["page": page > 1 ? "\(page - 1)" : nil]) }
        if found.next == nil, let oldest, visit.period.from ?? .distantPast < oldest {
            values["next"] = visit.address(with: ["page": nil, "before": ISO8601.text(oldest)])
        } else if found.next != nil {
            // After ``offsetPages`` pages, the next page begins at the time of this page's last entry. With an offset, all entries
            // before that page would be read.
            let last = try found.records.last?.value(of: "createdon")
            if page >= Self.offsetPages, case .date(let moment)? = last, let end = Self.laterEnd(moment, visit) {
                values["next"] = visit.address(with: ["page": nil, "before": ISO8601.text(end)])
            } else {
                values["next"] = visit.address(with: ["page": "\(page + 1)"])
            }
        }
        values["hasPages"] = values["next"] != nil || values["previous"] != nil
        return .page("audit", values)
    }

    /// The names of people and clients, which the filter offers.
    private func actorNames(_ session: Session) async throws -> [String] {
        let people = try await PeopleAdministration(session).list().map(\.name)
        return people + (try await ClientAdministration(session).list().map(\.name))
    }

    /// The upper limit of the times on the next page; nil if this page has the same limit, because more changes than a page
    /// shows are of one moment.
    private static func laterEnd(_ last: Date, _ visit: Visit) -> Date? {
        let end = last.addingTimeInterval(1)
        return visit.endOfChanges.map { end < $0 } ?? true ? end : nil
    }

    /// How many pages are found by an offset from the newest change. Later pages are found by a time.
    static let offsetPages = 100
    /// The highest page number that an address may have.
    static let mostPages = 20_000
    /// How many changes one page reads to find the changes that match its filters.
    private static let searchedChanges = 200_000

    /// - Parameter oldest: The earliest time of the changes.
    private func auditQuery(
        _ visit: Visit, _ table: EntityDefinition?, _ id: UUID?, _ operation: Int?, _ oldest: Date? = nil
    ) -> RecordQuery {
        var query = RecordQuery()
        query.outputs = Self.auditColumns.map { .init(.column(.init($0))) }
        query.order = [.init(.column(.init("createdon")), descending: true)]
        query.pageSize = Self.auditPageSize
        query.offset = max(0, min(Int(visit.query("page") ?? "") ?? 0, Self.mostPages)) * Self.auditPageSize
        var conditions: [Filter] = []
        if let table { conditions.append(.compare(.init("objecttypecode"), .equal, .text(table.logicalName))) }
        if let id { conditions.append(.compare(.init("objectid"), .equal, .text(id.text))) }
        if let operation { conditions.append(.compare(.init("operation"), .equal, .number("\(operation)"))) }
        if let person = visit.filter("person") {
            conditions.append(.like(.init("useridname"), .holding(person)))
        }
        let from = [visit.period.from, oldest].compactMap { $0 }.max()
        let end = visit.endOfChanges
        if from != nil || end != nil { conditions.append(.within(.init("createdon"), from, end)) }
        if !conditions.isEmpty { query.filter = .all(conditions) }
        return query
    }

    @Sendable func exportAudit(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let table = visit.filter("table").flatMap { name in Self.auditedEntities.first { $0.logicalName == name } }
        let operation = visit.filter("operation").flatMap { Int($0) }
        var query = auditQuery(visit, table, visit.query("id").flatMap(UUID.init(text:)), operation)
        query.offset = 0
        query.pageSize = 1_000
        let (first, rest) = (try await session.list(.audit, query), query)
        return PageResponse(
            content: .stream(name: "\(session.organization.name)-audit.csv", type: "text/csv; charset=utf-8") { write in
                try await write(Array(CSV.head(AuditLines.columns).utf8))
                var (page, query) = (first, rest)
                while true {
                    let lines = try await AuditLines(visit, session).rows(page.records).map(CSV.line)
                    try await write(Array(lines.joined().utf8))
                    guard let next = page.next, let last = page.records.last,
                        case .date(let moment) = try last.value(of: "createdon")
                    else { return }
                    query.after = next
                    // The index scan starts here, because newer changes were exported already.
                    let end = Filter.within(.init("createdon"), nil, moment.addingTimeInterval(1))
                    query.filter = .all([rest.filter, end].compactMap { $0 })
                    page = try await session.list(.audit, query)
                }
            })
    }
}

extension Visit {
    /// The upper limit of the times on this page, if its address has one.
    fileprivate var endOfChanges: Date? {
        [period.end, query("before").flatMap(ISO8601.date)].compactMap { $0 }.min()
    }
}
