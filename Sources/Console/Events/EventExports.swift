import Foundation
import JSON
import Model
import Tenancy

// Exports of the security events: all that the filters of their page find.
extension Console {
    /// How many events are read at a time.
    private static let exportedAtOnce = 1_000

    /// Exports events as JSON lines. Without a filter, the export has the whole chain from its beginning, with its attested end.
    /// With a filter, the export has only the events that match, the newest first.
    @Sendable func exportEvents(_ visit: Visit) async throws -> PageResponse {
        let reading = try EventReading(visit.session())
        let session = reading.session
        let name = "\(session.organization.name)-events.jsonl"
        if Self.eventFilters.contains(where: { visit.filter($0) != nil }) {
            let filter = try await eventFilter(visit)
            let first = try await reading.events(filter, limit: Self.exportedAtOnce)
            return PageResponse(
                content: .stream(name: name, type: "application/jsonl") { write in
                    try await reading.forEachPage(of: filter, first: first, limit: Self.exportedAtOnce) { page in
                        try await write(Self.lines(page, session))
                    }
                })
        }
        await session.linkPendingEvents()
        // The first events are read here, because an error can be reported only before the first byte of the response.
        let first = try await reading.events(limit: Self.exportedAtOnce)
        return PageResponse(
            content: .stream(name: name, type: "application/jsonl") { write in
                var page = first
                while let newest = page.last {
                    try await write(Self.lines(page, session))
                    page = try await reading.events(after: newest.id, limit: Self.exportedAtOnce)
                }
                let end: JSONValue = [
                    "organization": .string(session.organization.name), "attested": await reading.attestedEnd(),
                ]
                try await write(end.utf8 + [UInt8(ascii: "\n")])
            })
    }

    private static func lines(_ events: [RecordedEvent], _ session: Session) -> [UInt8] {
        events.flatMap { $0.json(session.organization.name).utf8 + [UInt8(ascii: "\n")] }
    }

    /// The parameters of an address that filter the events.
    private static let eventFilters = ["kind", "outcome", "actor", "record", "from", "until"]

    /// Exports a table for spreadsheets, the newest event first. In addition to the values, the table has the words that the page
    /// shows for them.
    @Sendable func exportEventTable(_ visit: Visit) async throws -> PageResponse {
        let reading = try EventReading(visit.session())
        let session = reading.session
        let filter = try await eventFilter(visit)
        let first = try await reading.events(filter, limit: Self.exportedAtOnce)
        let lines = EventLines(visit, session)
        return PageResponse(
            content: .stream(name: "\(session.organization.name)-events.csv", type: "text/csv; charset=utf-8") { write in
                try await write(Array(CSV.head(EventLines.columns).utf8))
                try await reading.forEachPage(of: filter, first: first, limit: Self.exportedAtOnce) { page in
                    try await write(Array(try await lines.rows(page).map(CSV.line).joined().utf8))
                }
            })
    }
}

extension EventReading {
    /// Passes all events that a filter finds to `body`, the newest first. The search is repeated, because one search reads a
    /// limited number of events.
    fileprivate func forEachPage(
        of filter: EventFilter, first: [RecordedEvent], limit: Int, _ body: ([RecordedEvent]) async throws -> Void
    ) async throws {
        var (filter, page) = (filter, first)
        while true {
            if !page.isEmpty { try await body(page) }
            if page.count == limit, let last = page.last {
                filter.before = last.id
            } else if let next = try await continuation(of: filter) {
                filter.before = next
            } else {
                return
            }
            page = try await events(filter, limit: limit)
        }
    }
}

extension EventLines {
    /// The columns of an export. The names are the same in each language.
    static let columns = [
        "number", "occurredon", "kind", "kindname", "outcome", "outcomename", "actor", "actorname", "details", "detailsname",
        "recordid", "recordname", "address", "operator", "keyversion", "fingerprint", "requestid",
    ]

    /// The rows of an export.
    func rows(_ events: [RecordedEvent]) async throws -> [[String]] {
        let names = try await names(in: events)
        return events.map { event in
            let mention = RecordMention(of: event)
            // The first record of an event has columns of its own.
            let words = EventDetails.linked(by: event, names, texts) ?? EventDetails.told(event, names, texts)
            return [
                "\(event.id)", ISO8601.text(event.occurredOn), event.kind, texts.optional("event:\(event.kind)") ?? event.kind,
                event.outcome, texts["outcome:\(event.outcome)"], event.actor, who(event.actor), event.details ?? "", words ?? "",
                mention?.id.text ?? "", mention.flatMap { names.named($0.id, texts) } ?? "",
                event.networkAddress.map(Self.address) ?? "", event.operatorClaim ?? "", event.keyVersion.map { "\($0)" } ?? "",
                event.fingerprint ?? "", event.requestID ?? "",
            ]
        }
    }
}
