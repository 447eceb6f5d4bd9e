package import Foundation
package import PostgresClient
package import Tenancy

/// A running server, in `config.server`.
package struct ServerPresence: Sendable {
    package let id: UUID
    package let host: String
    package let version: String
    /// The ids of the server's key-encryption keys.
    package let kekIDs: [String]
    package let startedOn: Date

    /// Seconds between two renewals.
    package static let renewalSeconds = 10
    /// Seconds after which a server without a renewal counts as stopped.
    static let absenceSeconds = 45

    /// - Parameter id: The id of this run of the server.
    package init(id: UUID = UUID(), host: String, version: String, kekIDs: [String]) {
        (self.id, self.host, self.version, self.kekIDs, startedOn) = (id, host, version, kekIDs, Date())
    }

    private init(_ row: PostgresRow) throws {
        id = try row.decode(0)
        host = try row.decode(1)
        version = try row.decode(2)
        kekIDs = try row.decode(3, as: String.self).split(separator: ",").map(String.init)
        startedOn = try row.decode(4)
    }

    /// Writes or renews the row, and deletes rows that were not renewed for a day.
    package func renew(_ deployment: Deployment) async throws {
        let refused = deployment.stateRefusals.all.filter(\.value.problem.isOfMemory).sorted { $0.key < $1.key }
        try await deployment.pool.withConnection { connection in
            _ = try connection.query(
                """
                INSERT INTO config.server (server_id, host, version, kek_ids, refused, revisions, reasons)
                VALUES ($1, $2, $3, $4, $5, $6::text[]::bigint[], $7)
                ON CONFLICT (server_id) DO UPDATE
                   SET (seen_on, refused, revisions, reasons) = (now(), excluded.refused, excluded.revisions, excluded.reasons)
                """,
                [
                    .uuid(id), .text(host), .text(version), .texts(kekIDs), .texts(refused.map(\.key)),
                    .texts(refused.map { "\($0.value.revision)" }), .texts(refused.map(\.value.problem.description)),
                ])
            try connection.execute(
                "DELETE FROM config.server WHERE seen_on < now() - interval '1 day' OR seen_on > now() + interval '1 day'")
        }
    }

    /// An organization that a running server refuses.
    package struct Refusal: Sendable {
        package let organization: String
        package let host: String
        package let reason: String
    }

    /// The organizations that running servers refuse although the database shows no problem: a server remembers a newer state
    /// than the database has. A refusal ends once the organization's attested state has another revision.
    package static func refusals(on connection: isolated PostgresConnection) throws -> [Refusal] {
        try connection.query(
            """
            SELECT r.organization, s.host, coalesce(r.reason, '')
              FROM config.server AS s, unnest(s.refused, s.revisions, s.reasons) AS r (organization, revision, reason)
              JOIN config.organization AS o ON o.name = r.organization
              JOIN config.attested_state AS a ON (a.organization_id, a.revision) = (o.organization_id, r.revision)
             WHERE s.seen_on BETWEEN now() - $1 * interval '1 second' AND now() + $1 * interval '1 second'
             ORDER BY r.organization, s.host
            """, [.double(Double(absenceSeconds))]
        ).map { Refusal(organization: try $0.decode(0), host: try $0.decode(1), reason: try $0.decode(2)) }
    }

    /// Distinguishes a database from a copy that is used independently: servers renew their rows in only one of the two.
    package static let mark = Standby.Mark(
        "SELECT server_id || ' ' || seen_on FROM config.server ORDER BY seen_on DESC LIMIT 1",
        holdsIf: """
            EXISTS (SELECT FROM config.server WHERE server_id::text = left($1, 36) AND seen_on >= substr($1, 38)::timestamptz)
            """)

    /// Deletes the row when the server stops.
    package func end(_ deployment: Deployment) async throws {
        _ = try await deployment.pool.withConnection {
            try $0.query("DELETE FROM config.server WHERE server_id = $1", [.uuid(id)])
        }
    }

    /// The running servers, by host and start time.
    package static func running(on connection: isolated PostgresConnection) throws -> [ServerPresence] {
        try connection.query(
            """
            SELECT server_id, host, version, array_to_string(kek_ids, ','), started_on FROM config.server
             WHERE seen_on BETWEEN now() - $1 * interval '1 second' AND now() + $1 * interval '1 second' ORDER BY host, started_on
            """, [.double(Double(absenceSeconds))]
        ).map(ServerPresence.init)
    }
}
