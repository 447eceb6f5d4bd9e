import CellCrypto
import Foundation
package import JSON
import Model
import PostgresClient

extension AttestedState {
    /// The state as an export contains it: all fields that the tag covers, and the tag.
    func json(_ organization: Organization) -> JSONValue {
        [
            "organization": .string(organization.name), "organizationId": .string(organization.id.text),
            "revision": .integer(Int64(revision)), "keyVersion": .integer(Int64(keyVersion)), "fingerprint": .string(fingerprint),
            "grantsDigest": .hexadecimal(grantsDigest), "events": .integer(Int64(events)), "newest": .integer(Int64(newestEvent)),
            "head": .hexadecimal(head), "kekId": .string(kekID), "tag": .hexadecimal(tag),
        ]
    }

    /// Parses the state in an export; nil when a member is missing or has another type.
    init?(_ json: JSONValue) {
        func number(_ name: String) -> Int? { if case .integer(let number)? = json[name] { Int(number) } else { nil } }
        func digits(_ name: String) -> [UInt8]? { json[name]?.string.flatMap(bytes(hexadecimal:)) }
        guard let id = json["organizationId"]?.string.flatMap(UUID.init(text:)), let revision = number("revision"),
            let keyVersion = number("keyVersion"), let fingerprint = json["fingerprint"]?.string,
            let grantsDigest = digits("grantsDigest"), let events = number("events"), let newest = number("newest"),
            let head = digits("head"), let kekID = json["kekId"]?.string, let tag = digits("tag")
        else { return nil }
        self.init(
            organizationID: id, revision: revision, keyVersion: keyVersion, fingerprint: fingerprint, grantsDigest: grantsDigest,
            events: events, newestEvent: newest, head: head, kekID: kekID, tag: tag)
    }
}

extension EventReading {
    /// How many events are compared at a time, and how many problems are returned at most.
    private static let exportBatch = 1_000
    private static let exportProblems = 20

    /// Compares a file, written by an export or a receiver, with the events in the database. Finds lines that were changed,
    /// removed or added.
    ///
    /// Ignores lines of other organizations. An event may be in the file more than once, because a receiver may get an event
    /// again.
    ///
    /// - Parameters:
    ///   - lines: The lines in order; nil for a line that is not JSON.
    ///   - archived: Digests of events in archives, by the events' numbers (``EventArchiveFile/digests()``).
    /// - Returns: The problems, and how many events were not compared, because they are archived and their archive was not given.
    package func problems(
        inExport lines: [JSONValue?], archived: [Int: [UInt8]] = [:]
    ) async throws -> (problems: [String], notCompared: Int) {
        let exported = ExportedEvents(lines, of: organization)
        let events = exported.events
        var problems = exported.problems
        var notCompared = 0
        for start in stride(from: 0, to: events.count, by: Self.exportBatch) where problems.count < Self.exportProblems {
            let part = Array(events.dropFirst(start).prefix(Self.exportBatch))
            let (found, missing) = try await differences(of: part, archived)
            problems += found
            notCompared += missing
        }
        return (Array(problems.prefix(Self.exportProblems)), notCompared)
    }

    /// The newest attested end of the organization's chain in a file; nil if there is none. A receiver's file may also have the
    /// ends of other organizations' chains.
    package func newestAttested(in lines: [JSONValue?]) -> JSONValue? {
        ExportedEvents.attested(in: lines, of: organization.id)
            .max { ExportedEvents.number($0, "revision") ?? 0 < ExportedEvents.number($1, "revision") ?? 0 }
    }

    /// Finds events of an export that differ from the chain or its archives, or are in neither.
    private func differences(
        of events: [RecordedEvent], _ archives: [Int: [UInt8]]
    ) async throws -> (problems: [String], notCompared: Int) {
        try await deployment.pool.withConnection { connection in
            var notCompared = 0
            let archived = try EventArchivePosition.require(organization, under: deployment.kek, on: connection)?.lastID ?? 0
            let rows = try connection.query(
                """
                SELECT \(RecordedEvent.columns) FROM \(organization.qualified("security_event"))
                 WHERE security_event_id BETWEEN $1 AND $2
                """, [.int64(Int64(events.map(\.id).min() ?? 0)), .int64(Int64(events.map(\.id).max() ?? 0))]
            ).map { try RecordedEvent($0) }
            let known = Dictionary(rows.map { ($0.id, $0.json("")) }) { first, _ in first }
            let problems: [String] = events.compactMap { event in
                if let there = known[event.id] {
                    return there == event.json("") ? nil : "\(event.id): this event differs between the export and the chain"
                }
                guard event.id <= archived else {
                    return
                        "\(event.id): this event of the export is not in the chain: an older state was restored, or the event was "
                        + "removed"
                }
                guard let digest = archives[event.id] else {
                    notCompared += 1
                    return nil
                }
                return digest == event.digest ? nil : "\(event.id): this event differs between the export and its archive"
            }
            return (problems, notCompared)
        }
    }

    /// Verifies the tag of the attested state in an export. A tag under a replaced key-encryption key can't be verified any more,
    /// and is accepted.
    func problems(ofTag attested: JSONValue, replaced: Set<String>) -> [String] {
        guard let state = AttestedState(attested) else {
            return ["the last `attested` of the export lacks something that its tag covers"]
        }
        if replaced.contains(state.kekID) { return [] }
        do {
            try state.verify(under: deployment.kek)
            return []
        } catch {
            return ["the last `attested` of the export was changed: its tag does not fit it"]
        }
    }
}
