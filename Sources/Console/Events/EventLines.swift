import Foundation
import JSON
import Model
import Records
import Tenancy

/// Security events as readable lines: names instead of ids. Consecutive released credentials are one line, and so are
/// consecutive equal events.
struct EventLines {
    private let visit: Visit
    private let session: Session
    var texts: Texts { visit.texts }

    init(_ visit: Visit, _ session: Session) {
        self.visit = visit
        self.session = session
    }

    private static let released = SecurityEvent.Kind.credentialReleased.rawValue

    /// The lines of consecutive events, the newest first.
    func lines(_ events: [RecordedEvent]) async throws -> [[String: Any]] {
        let names = try await names(in: events)
        var lines: [[String: Any]] = []
        var index = 0
        while index < events.count {
            let first = events[index]
            let isRelease = Self.isRelease(first)
            let end =
                events[index...].firstIndex { isRelease ? !Self.isRelease($0) : !Self.looks($0, like: first) } ?? events.endIndex
            let same = Array(events[index..<end])
            lines.append(same.count == 1 ? line(first, names) : isRelease ? group(same, names) : folded(same, names))
            index = end
        }
        return lines
    }

    /// The names of the records in the details of events.
    func names(in events: [RecordedEvent]) async throws -> RecordNames {
        var references: [String: Set<UUID>] = [:]
        for event in events {
            let mentions = event.details.map { RecordMention.all(in: $0) } ?? []
            for mention in [RecordMention(of: event)].compactMap(\.self) + RecordMention.linked(by: event) + mentions {
                references[mention.entity.logicalName, default: []].insert(mention.id)
            }
        }
        var names = try await RecordNames(references, session)
        names.addFormer(try await formerNames(names.missing.sorted { $0.text < $1.text }))
        return names
    }

    /// The names that deleted records had, as far as the audit has their deletions.
    private func formerNames(_ ids: [UUID]) async throws -> [UUID: String] {
        guard !ids.isEmpty, Navigation.mayList(.audit, session.caller.roles) else { return [:] }
        var query = RecordQuery()
        query.outputs = ["objectid", "objecttypecode", "changedata"].map { .init(.column(.init($0))) }
        query.filter = .all([
            .isIn(.init("objectid"), ids.prefix(Self.formerLimit).map { .text($0.text) }),
            .compare(.init("operation"), .equal, .number("3")),
        ])
        query.pageSize = Self.formerLimit
        return try AuditLines.formerNames(try await session.list(.audit, query).records)
    }

    /// How many deleted records one page names at most.
    private static let formerLimit = 500

    private static func isRelease(_ event: RecordedEvent) -> Bool { event.kind == released && event.outcome == "succeeded" }

    private static func isOfLinks(_ event: RecordedEvent) -> Bool {
        SecurityEvent.Kind.ofLinks.map(\.rawValue).contains(event.kind)
    }

    /// Whether two events have the same kind, outcome, actor and details. Events that look alike share one line.
    private static func looks(_ event: RecordedEvent, like other: RecordedEvent) -> Bool {
        (event.kind, event.outcome, event.actor, event.details) == (other.kind, other.outcome, other.actor, other.details)
    }

    /// The largest number of events whose times are listed in the line of equal events.
    private static let timesLimit = 50

    /// Equal events: one line with their number, and the time and the address of each.
    private func folded(_ events: [RecordedEvent], _ names: RecordNames) -> [String: Any] {
        var line = line(events[0], names)
        line["count"] = texts.count("times", events.count)
        line["hasTimes"] = true
        line["times"] = events.prefix(Self.timesLimit).map { event -> [String: Any] in
            [
                "when": texts.time(event.occurredOn), "address": orFalse(event.networkAddress.map(Self.address)),
                "number": texts.number(event.id),
            ]
        }
        // Facts that differ between the events are left out.
        let shared = [visit.text("details"), visit.text("keyVersion"), visit.text("fingerprint")]
        line["rows"] = facts(events[0], names).filter { ($0["label"] as? String).map(shared.contains) == true }
        return line
    }

    /// The line of one event.
    func line(_ event: RecordedEvent, _ names: RecordNames) -> [String: Any] {
        let mention = RecordMention(of: event)
        var line: [String: Any] = [
            "when": texts.time(event.occurredOn), "what": texts.optional("event:\(event.kind)") ?? event.kind, "badge": false,
            "who": who(event.actor), "rows": facts(event, names), "record": false, "about": false, "isGroup": false,
            "count": false, "hasTimes": false, "reason": false,
            "linked": RecordMention.linked(by: event).map { reference($0, names) },
        ]
        if event.outcome != "succeeded" {
            line["badge"] = ["style": event.outcome == "refused" ? "warn" : "bad", "text": visit.text("outcome:\(event.outcome)")]
        }
        if let mention { line["record"] = reference(mention, names) }
        if mention == nil, let details = event.details, details.utf8.count <= 80 {
            line["about"] = orFalse(EventDetails.told(event, names, texts))
        } else if let roles = event.details.flatMap({ EventDetails.roles($0, texts) }), Self.isOfLinks(event) {
            line["about"] = roles
        } else if event.outcome != "succeeded" {
            line["reason"] = orFalse(EventDetails.told(event, names, texts))
        }
        return line
    }

    private func group(_ events: [RecordedEvent], _ names: RecordNames) -> [String: Any] {
        var counts: [UUID: (mention: RecordMention, count: Int)] = [:]
        for event in events {
            guard let mention = event.details.flatMap(RecordMention.init(in:)) else { continue }
            counts[mention.id, default: (mention, 0)].count += 1
        }
        let first = events[events.count - 1]
        return [
            "when": texts.time(events[0].occurredOn), "what": visit.text("event:\(Self.released)"), "badge": false,
            "who": who(events[0].actor), "record": false, "about": texts.count("times", events.count), "isGroup": true,
            "count": false, "hasTimes": false, "reason": false, "linked": [[String: Any]](),
            "since": texts.time(first.occurredOn),
            "members": counts.values.sorted { $0.count > $1.count }.prefix(50).map { entry -> [String: Any] in
                ["record": reference(entry.mention, names), "count": texts.count("times", entry.count)]
            },
            "rows": [[String: Any]](),
        ]
    }

    private func reference(_ mention: RecordMention, _ names: RecordNames) -> [String: Any] {
        let attribute = mention.attribute.flatMap { mention.entity[$0] }
        // The console shows a user on the page of the user's settings.
        let isUser = mention.entity.logicalName == EntityDefinition.systemUser.logicalName
        let page: EntityDefinition = isUser ? .userSettings : mention.entity
        let isPage = (Navigation.sets + Navigation.shownSets).contains { $0.logicalName == page.logicalName }
        return [
            "entity": visit.text("entity:\(mention.entity.logicalName)"),
            "name": names.shownLater(mention.id, visit.texts),
            "href": isPage && names[mention.id] != nil
                ? "\(visit.root)/records/\(page.entitySetName)/\(mention.id.text)" : false as Any,
            "attribute": orFalse(attribute.map { texts.label($0, of: mention.entity) }),
        ]
    }

    /// The actor in a readable form.
    func who(_ actor: String) -> String { ActorName.shown(actor, texts) }

    private func facts(_ event: RecordedEvent, _ names: RecordNames) -> [[String: Any]] {
        let version = event.keyVersion.map { "\($0)" }
        let facts: [(String, String?)] = [
            ("details", EventDetails.told(event, names, texts)), ("address", event.networkAddress.map(Self.address)),
            ("operator", event.operatorClaim),
            ("keyVersion", version),
            ("fingerprint", event.fingerprint), ("requestId", event.requestID), ("eventNumber", texts.number(event.id)),
        ]
        return facts.compactMap { label, value in
            value.map { ["label": visit.text(label), "value": $0] }
        }
    }

    /// An IPv4 address in its usual form.
    static func address(_ text: String) -> String {
        text.hasPrefix("::ffff:") && text.contains(".") ? String(text.dropFirst(7)) : text
    }
}

extension EventFilter {
    /// The events of the default view. The view leaves out released credentials, and the regular events about archives and about
    /// the sealing of the audit.
    static var notable: EventFilter {
        var filter = EventFilter()
        filter.kinds = SecurityEvent.Kind.allCases.filter { ![.credentialReleased, .eventsArchived, .auditSealed].contains($0) }
            .map(\.rawValue)
        return filter
    }
}
