import Foundation
import JSON

/// The events of one organization in a file that an export or a receiver wrote, and problems in the file itself.
struct ExportedEvents {
    /// Each event once, in the order of the file.
    private(set) var events: [RecordedEvent] = []
    private(set) var problems: [String] = []
    private var hashes: [Int: [UInt8]] = [:]

    /// - Parameter lines: The lines in order; nil for a line that is not JSON.
    init(_ lines: [JSONValue?], of organization: Organization) {
        // The organization may have been renamed since. A line with an attested end has the organization's id, and the name that it
        // had when the line was written. The tag in that line covers the id.
        let names = Set(
            [organization.name]
                + lines.compactMap { line in
                    line?["attested"]?["organizationId"]?.string == organization.id.text ? line?["organization"]?.string : nil
                })
        for (index, line) in lines.enumerated() {
            guard let line else {
                problems.append("line \(index + 1) of the export is damaged")
                continue
            }
            // A line of a receiver's file has the organization's id. A line of an export has only the organization's name.
            let id = line["attested"]?["organizationId"]?.string
            let isOurs = id.map { $0 == organization.id.text } ?? line["organization"]?.string.map(names.contains) ?? false
            if isOurs, line["id"] != nil { add(line, at: index) }
        }
        addMissingEnds(lines, of: organization.id)
    }

    private mutating func add(_ line: JSONValue, at index: Int) {
        guard let event = RecordedEvent(line, after: nil), line["occurredOn"]?.string == ISO8601.text(event.occurredOn) else {
            problems.append("line \(index + 1) of the export is not an event as this service writes it")
            return
        }
        if let known = hashes[event.id] {
            if known != event.hash { problems.append("\(event.id): the export has this event twice, with two hashes") }
            return
        }
        if let last = events.last, event.id != last.id &+ 1 {
            problems.append(
                event.id > last.id
                    ? Self.missing(last.id + 1, event.id - 1) : "\(event.id): this event is not in its place in the export")
        }
        hashes[event.id] = event.hash
        events.append(event)
    }

    /// Reports events that are missing at the beginning or the end, by the range in an export's last line. A receiver's file has
    /// no such line.
    private mutating func addMissingEnds(_ lines: [JSONValue?], of organization: UUID) {
        let ends = lines.compactMap(\.self).filter {
            $0["id"] == nil && $0["attested"]?["organizationId"]?.string == organization.text
        }
        // Exports of earlier versions lack the member `after`, and may begin with any event.
        let begins = ends.map { Self.number($0, "after") }
        let begin = begins.contains(nil) ? nil : begins.compactMap(\.self).min()
        if let begin, let first = events.first, begin < first.id, begin + 1 < first.id {
            problems.append(Self.missing(begin + 1, first.id - 1))
        }
        guard let newest = ends.compactMap({ $0["attested"].flatMap { Self.number($0, "newest") } }).max(),
            let last = events.map(\.id).max() ?? begin, newest > last
        else { return }
        problems.append(Self.missing(last + 1, newest))
    }

    private static func missing(_ first: Int, _ last: Int) -> String {
        "\(first) to \(last): these events are missing in the export"
    }

    /// The attested ends of an organization's chain in a file.
    static func attested(in lines: [JSONValue?], of organization: UUID) -> [JSONValue] {
        lines.compactMap { $0?["attested"] }.filter { $0["organizationId"]?.string == organization.text }
    }

    static func number(_ json: JSONValue, _ name: String) -> Int? {
        if case .integer(let number)? = json[name] { Int(number) } else { nil }
    }
}
