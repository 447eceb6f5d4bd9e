import CellCrypto
package import Foundation
package import JSON
package import PostgresClient

/// A recorded security event.
package struct RecordedEvent: Sendable {
    package let id: Int
    /// Microseconds since 1970-01-01 UTC.
    package let microseconds: Int
    package let kind: String
    package let outcome: String
    package let actor: String
    /// The address of the request. For a command, ``operatorPrefix`` and the person who ran it.
    package let address: String?
    package let requestID: String?
    package let keyVersion: Int?
    package let fingerprint: String?
    package let details: String?
    /// The hash of the event before this one; nil for an organization's first event.
    package let previousHash: [UInt8]?
    /// SHA-256 that links the event to the one before it.
    package let hash: [UInt8]

    /// The time of the event. If SQL wrote a time whose year does not have four digits, returns the nearest time with such a year.
    package var occurredOn: Date { PostgresMoment(microsecondsSince1970: microseconds).date }

    static let operatorPrefix = "operator:"

    /// The person who ran a command, as the operating system reported them. The report is no proof.
    package var operatorClaim: String? {
        address.flatMap { $0.hasPrefix(Self.operatorPrefix) ? String($0.dropFirst(Self.operatorPrefix.count)) : nil }
    }

    /// The address of the request, if it came over a network.
    package var networkAddress: String? { operatorClaim == nil ? address : nil }

    /// The columns of `security_event` that ``init(_:)`` reads.
    package static let columns = """
        security_event_id, (extract(epoch FROM occurred_on) * 1000000)::bigint, kind, outcome, actor, address, request_id, key_version,
        fingerprint, details, previous_hash, hash
        """

    package init(_ row: PostgresRow) throws {
        id = try row.decode(0)
        microseconds = try row.decode(1)
        kind = try row.decode(2)
        outcome = try row.decode(3)
        actor = try row.decode(4)
        address = try row.decodeIfPresent(5)
        requestID = try row.decodeIfPresent(6)
        keyVersion = try row.decodeIfPresent(7)
        fingerprint = try row.decodeIfPresent(8)
        details = try row.decodeIfPresent(9)
        previousHash = try row.decodeIfPresent(10, as: PostgresBytes.self)?.bytes
        hash = try row.decode(11, as: PostgresBytes.self).bytes
    }

    /// The hash computed from the event's values and `previousHash`.
    package func computedHash() throws -> [UInt8] {
        try EventHash.of(
            [
                .integer(Int64(id)), .integer(Int64(microseconds)), .string(kind), .string(outcome), .string(actor), .text(address),
                .text(requestID), .whole(keyVersion), .text(fingerprint), .text(details),
            ], after: previousHash)
    }
}

extension JSONValue {
    /// A number, or null.
    static func whole(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }
    /// Bytes as hexadecimal digits, or null.
    static func hexadecimal(_ bytes: [UInt8]?) -> JSONValue { bytes.map { .string(CellCrypto.hexadecimal($0)) } ?? .null }
}

extension RecordedEvent {
    /// The event as a JSON line of exports and archives.
    package func json(_ organization: String) -> JSONValue {
        [
            "organization": .string(organization), "id": .integer(Int64(id)), "occurredOn": .string(ISO8601.text(occurredOn)),
            "microseconds": .integer(Int64(microseconds)), "kind": .string(kind), "outcome": .string(outcome),
            "actor": .string(actor), "address": .text(address), "operator": .text(operatorClaim), "requestId": .text(requestID),
            "keyVersion": .whole(keyVersion),
            "fingerprint": .text(fingerprint), "details": .text(details), "hash": .hexadecimal(hash),
        ]
    }

    /// Parses a line of an archive; nil if a member is missing or has another type.
    init?(_ json: JSONValue, after previousHash: [UInt8]?) {
        func text(_ name: String) -> String? { if case .string(let text)? = json[name] { text } else { nil } }
        func number(_ name: String) -> Int? { if case .integer(let number)? = json[name] { Int(number) } else { nil } }
        guard let id = number("id"), let microseconds = number("microseconds"), let kind = text("kind"),
            let outcome = text("outcome"), let actor = text("actor"), let hash = text("hash").flatMap(bytes(hexadecimal:))
        else { return nil }
        self.id = id
        self.microseconds = microseconds
        self.kind = kind
        self.outcome = outcome
        self.actor = actor
        address = text("address")
        requestID = text("requestId")
        keyVersion = number("keyVersion")
        fingerprint = text("fingerprint")
        details = text("details")
        self.previousHash = previousHash
        self.hash = hash
    }
}

/// Parses pairs of hexadecimal digits; nil for anything else.
package func bytes(hexadecimal text: String) -> [UInt8]? {
    let digits = text.utf8.map(\.hexDigitValue)
    guard digits.count % 2 == 0, !digits.contains(nil) else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { (digits[$0] ?? 0) << 4 | (digits[$0 + 1] ?? 0) }
}
