import Authentication
import Foundation
import Hummingbird
import JSON
import Model
import Records
import Tenancy

// The security events, filtered by kind, result, person, record and day.
extension Console {
    /// How many events one page reads. Consecutive released credentials are one line.
    private static let eventPageSize = 100

    @Sendable func events(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let reading = try EventReading(session)
        let filter = try await eventFilter(visit)
        let kind = visit.filter("kind").flatMap { SecurityEvent.Kind(rawValue: $0) }
        let group = visit.filter("kind").flatMap { EventGroup(rawValue: $0) }
        let period = visit.period
        let events = try await reading.events(filter, limit: Self.eventPageSize)
        let lines = EventLines(visit, session)
        let groups = EventGroup.allCases.map { ($0.rawValue, visit.text("events:\($0.rawValue)")) }
        let kinds = SecurityEvent.Kind.allCases.map { kind in (kind.rawValue, visit.text("event:\(kind.rawValue)")) }
        let people = try await PeopleAdministration(session).list().map { ("user:\($0.name)", $0.name) }
        let clients = try await ClientAdministration(session).list().map { ("client:\($0.name)", lines.who("client:\($0.name)")) }
        let outcomes = ["succeeded", "refused", "failed"].map { ($0, visit.text("outcome:\($0)")) }
        let isFiltered: Bool =
            [visit.filter("kind"), filter.actor, filter.outcome, filter.details].contains { $0 != nil } || period.from != nil
            || period.end != nil
        var values: [String: Any] = [
            "title": visit.text("events"), "lead": visit.text("eventsLead"),
            "groups": Self.options(groups, chosen: group?.rawValue),
            "kinds": Self.options(kinds.sorted { $0.1 < $1.1 }, chosen: kind?.rawValue),
            "actors": Self.options(people + clients, chosen: filter.actor),
            "outcomes": Self.options(outcomes, chosen: filter.outcome),
            "record": visit.filter("record") ?? "",
            "lines": try await lines.lines(events),
            "isFiltered": isFiltered,
        ]
        for type in ["csv", "jsonl"] {
            values[type] = visit.address(with: ["before": nil]).replacing("/events", with: "/events.\(type)", maxReplacements: 1)
        }
        if events.count == Self.eventPageSize, let last = events.last {
            values["next"] = visit.address(with: ["before": "\(last.id)"])
        } else if let number = try await reading.continuation(of: filter) {
            values["next"] = visit.address(with: ["before": "\(number)"])
        }
        values.merge(try await ownViews(of: "events", visit)) { own, _ in own }
        values["chip"] = false
        if let id = filter.details.flatMap(UUID.init(text:)) {
            values["chip"] = try await chip("record", Navigation.sets + Navigation.shownSets, id, visit)
        }
        values["notice"] = visit.viewNotice
        values.merge(visit.periodValues) { _, new in new }
        if filter.before != nil { values["newest"] = visit.address(with: ["before": nil]) }
        values["hasPages"] = values["next"] != nil || values["newest"] != nil
        return .page("events", values)
    }

    /// The filter in the address of the page and of its exports.
    func eventFilter(_ visit: Visit) async throws -> EventFilter {
        var filter = EventFilter()
        let kind = visit.filter("kind").flatMap { SecurityEvent.Kind(rawValue: $0) }
        let group = visit.filter("kind").flatMap { EventGroup(rawValue: $0) }
        filter.kinds = (group?.kinds ?? kind.map { [$0] } ?? []).map(\.rawValue)
        filter.outcome = visit.filter("outcome").flatMap { SecurityEvent.Outcome(rawValue: $0) }?.rawValue
        filter.actor = visit.filter("actor")
        filter.details = visit.filter("record")
        if let word = filter.details, UUID(text: word) == nil {
            filter.records = try await recordsNamed(word, try visit.session())
        }
        (filter.from, filter.until) = (visit.period.from, visit.period.end)
        filter.before = visit.query("before").flatMap { Int($0) }
        return filter
    }

    /// How many records of one kind a search for a name finds at most.
    private static let namedRecords = 1_000

    /// The records whose names contain a word. Events contain only ids, but the page shows names.
    private func recordsNamed(_ word: String, _ session: Session) async throws -> [UUID] {
        var found: [UUID] = []
        for entity in Navigation.sets + [.systemUser, .team] where Navigation.mayList(entity, session.caller.roles) {
            guard let primary = entity.primaryName, entity[primary]?.type.isReference == false else { continue }
            var query = RecordQuery()
            query.outputs = [.init(.column(.init(entity.primaryID)))]
            query.filter = .like(.init(primary), .holding(word))
            query.order = [.init(.column(.init(entity.primaryID)), descending: true)]
            query.pageSize = Self.namedRecords
            found += try await session.list(entity, query).records.map(\.id)
        }
        return found
    }

    /// The options of a filter.
    static func options(_ options: [(String, String)], chosen: String?) -> [[String: Any]] {
        options.map { value, text in ["value": value, "text": text, "selected": value == chosen] }
    }
}

extension Visit {
    /// The address of another page of this list; pages are counted from 0. This address keeps the parameters in ``notices``.
    func address(page: Int) -> String {
        let notices = queries.filter { Self.notices.contains($0.name) }.map { ($0.name, Optional($0.value)) }
        return address(with: Dictionary(notices + [("page", page == 0 ? nil : "\(page)")]) { _, new in new })
    }

    /// The parameters that say what was just done. ``address(with:)`` omits each parameter for which it gets no value.
    private static let notices: Set<String> = ["done", "result"]

    /// This page's address with other values in its query. The value nil removes a parameter.
    func address(with changes: [String: String?]) -> String {
        var parts = queries.filter { !changes.keys.contains($0.name) && !Self.notices.contains($0.name) && !$0.value.isEmpty }
        for (name, value) in changes.sorted(by: { $0.key < $1.key }) { if let value { parts.append((name, value)) } }
        func encoded(_ text: String) -> String { text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "" }
        let path = request.uri.path
        return parts.isEmpty ? path : "\(path)?" + parts.map { "\(encoded($0.0))=\(encoded($0.1))" }.joined(separator: "&")
    }
}
