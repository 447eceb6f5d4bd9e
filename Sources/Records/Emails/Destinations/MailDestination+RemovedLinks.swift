import CellCrypto
import Foundation
import Model
import PostgresClient
import Tenancy

// A deleted profile leaves mailboxes without servers. No credential is released without a server, so a caller that may delete a
// profile needs no other right to remove it from mailboxes.
extension MailDestination {
    /// Runs `clear`, which removes a deleted profile from its mailboxes. Settings that the service wrote stay authorized without
    /// the profile. Settings that the service did not write stay unauthorized, so that an administrator still has to review them.
    static func removing(
        profile: UUID, from session: Session, on connection: isolated PostgresConnection, _ clear: () throws -> Void
    ) throws {
        let (organization, kek) = (session.organization, session.kek)
        let entity = EntityDefinition.mailbox.logicalName
        let table = organization.qualified("mail_destination")
        let rows = try connection.query(
            """
            SELECT r.mailboxid, d.tag, \(columns(of: entity, "r")) FROM \(organization.qualified(entity)) AS r
              JOIN \(table) AS d ON d.entity = $2 AND d.record_id = r.mailboxid
             WHERE r.emailserverprofile = $1 ORDER BY r.mailboxid FOR UPDATE OF r
            """, [.uuid(profile), .text(entity)])
        let kept = try rows.compactMap { row -> MailDestination? in
            let destination = try MailDestination(Place(entity: entity, id: try row.decode(0)), row, from: 2)
            let tag = try row.decode("tag", as: PostgresBytes.self).bytes
            guard try destination.isAuthorized(by: tag, session.state.grants, in: organization, under: kek) else { return nil }
            return destination.withoutProfile
        }
        try clear()
        // The tags are over settings that were read before `clear`, so that a change by a trigger is not authorized.
        let named = kept.filter { !$0.isEmpty }
        let tags = try named.map { try $0.tag(in: organization, under: kek) }
        _ = try connection.query(
            "DELETE FROM \(table) WHERE entity = $1 AND record_id = ANY($2)",
            [.text(entity), .uuids(kept.filter(\.isEmpty).map(\.place.id))])
        _ = try connection.query(
            """
            UPDATE \(table) AS d SET kek_id = $4, tag = decode(t.tag, 'hex'), authorized_on = now()
              FROM unnest($2::uuid[], $3::text[]) AS t (id, tag) WHERE d.entity = $1 AND d.record_id = t.id
            """,
            [.text(entity), .uuids(named.map(\.place.id)), .texts(tags.map { hexadecimal($0) }), .text(kek.id)])
    }
}
