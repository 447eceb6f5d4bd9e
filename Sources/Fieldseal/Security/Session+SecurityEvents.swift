public import Foundation
import PostgresClient

/// A security event as it was recorded.
public struct RecordedEvent: Sendable {
    public let id: Int
    public let occurredOn: Date
    public let kind: String
    public let outcome: String
    public let actor: String
    public let address: String?
    public let requestID: String?
    public let keyVersion: Int?
    public let fingerprint: String?
    public let details: String?
    /// SHA-256 that chains it to the one before it.
    public let hash: [UInt8]
}

extension Session {
    /// Security events in their order.
    ///
    /// - Parameters:
    ///   - id: Only those after this one.
    ///   - limit: So many at most.
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for who is no System Administrator.
    public func securityEvents(after id: Int = 0, limit: Int) async throws -> [RecordedEvent] {
        try requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            try connection.query(
                """
                SELECT security_event_id, occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details,
                       hash
                  FROM \(organization.qualified("security_event")) WHERE security_event_id > $1
                 ORDER BY security_event_id LIMIT $2
                """, [.int64(Int64(id)), .int64(Int64(limit))]
            ).map { row in
                RecordedEvent(
                    id: try row.decode(0), occurredOn: try row.decode(1), kind: try row.decode(2), outcome: try row.decode(3),
                    actor: try row.decode(4), address: try row.decodeIfPresent(5), requestID: try row.decodeIfPresent(6),
                    keyVersion: try row.decodeIfPresent(7), fingerprint: try row.decodeIfPresent(8),
                    details: try row.decodeIfPresent(9), hash: try row.decode(10, as: PostgresBytes.self).bytes)
            }
        }
    }

    /// The newest security events, the newest first.
    public func newestSecurityEvents(limit: Int) async throws -> [RecordedEvent] {
        try requireSystemAdministrator()
        let newest = try await deployment.pool.withConnection { connection in
            try connection.query("SELECT coalesce(max(security_event_id), 0) FROM \(organization.qualified("security_event"))")[0]
                .decode(0, as: Int.self)
        }
        return try await securityEvents(after: max(0, newest - limit), limit: limit).reversed()
    }

    /// What is wrong with the chain of security events: each broken link, and an end that is not where it should be.
    public func eventChainProblems() async throws -> [String] {
        try requireSystemAdministrator()
        return try await deployment.pool.withConnection { connection in
            let links = try connection.query(
                "SELECT security_event_id::text || ': ' || problem FROM \(organization.qualified("verify_security_events"))()"
            ).map { try $0.decode(0, as: String.self) }
            let count: Int = try connection.query("SELECT count(*) FROM \(organization.qualified("security_event"))")[0].decode(0)
            var problems = links
            if let problem = state.problem { problems.append("\(organization.name): \(problem.description)") }
            if let attested = state.attested, state.problem == nil, count != attested.events,
                state.newestEvent == attested.newestEvent
            {
                problems.append("\(attested.events - count) of \(attested.events) security events are missing")
            }
            return problems
        }
    }
}

extension RecordedEvent {
    /// The event as exports have it.
    public func json(_ organization: String) -> JSONValue {
        [
            "organization": .string(organization), "id": .integer(Int64(id)), "occurredOn": .string(ISO8601.text(occurredOn)),
            "kind": .string(kind), "outcome": .string(outcome), "actor": .string(actor), "address": .text(address),
            "requestId": .text(requestID), "keyVersion": keyVersion.map { .integer(Int64($0)) } ?? .null,
            "fingerprint": .text(fingerprint), "details": .text(details),
            "hash": .string(hash.map { String(format: "%02x", $0) }.joined()),
        ]
    }
}
