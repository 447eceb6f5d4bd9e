import Email
import Foundation
import Tenancy

// How long security events, changes and e-mails are kept, and the oldest of each.
extension Console {
    @Sendable func retentionPage(_ visit: Visit) async throws -> PageResponse {
        let reading = try EventReading(visit.session())
        let ages = try await reading.evidenceAges()
        func row(_ name: String, _ days: Int?, _ oldest: Date?, _ path: String, _ then: String) -> [String: Any] {
            [
                "name": visit.text(name), "href": "\(visit.root)/\(path)",
                "oldest": orFalse(oldest.map { visit.texts.timeAgo($0) }),
                "kept": days.map { visit.texts.count("days", $0) } ?? visit.text("keptAlways"),
                "then": visit.text(days == nil ? "staysThere" : then),
            ]
        }
        let rows = [
            row("events", retention.eventDays, ages.event, "events", "movedToFiles"),
            row("audit", retention.auditDays, ages.change, "audit", "movedToFiles"),
            row("email", retention.emailDays, ages.email, "records/emails?sort=createdon", "deletedThen"),
        ]
        let last = try await reading.events(EventFilter.archiving, limit: 1)
        var values: [String: Any] = [
            "title": visit.text("retention"), "lead": visit.text("retentionLead"), "rows": rows,
            "lines": try await EventLines(visit, visit.session()).lines(last), "hasLines": !last.isEmpty,
        ]
        values["all"] = "\(visit.root)/events?kind=events+archived"
        return .page("retention", values)
    }
}

extension EventFilter {
    /// The filter for events about archives and about deleted e-mails.
    fileprivate static var archiving: EventFilter {
        var filter = EventFilter()
        filter.kinds = [SecurityEvent.Kind.eventsArchived.rawValue, SecurityEvent.Kind.emailsRemoved.rawValue]
        return filter
    }
}
