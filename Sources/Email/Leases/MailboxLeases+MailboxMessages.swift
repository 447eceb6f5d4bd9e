package import Foundation
import Model
import PostgresClient
package import RouterProtocol
import Tenancy

extension MailboxLeases {
    /// Finds the messages of a leased mailbox that were inspected or set aside before.
    ///
    /// - Returns: Those of `ids` whose messages are known, and the number of all known messages.
    package func knownMessages(_ ids: [String], mailbox: UUID, host: String) async throws -> (known: [String], total: Int) {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(mailbox, host, for: .reporting, on: connection)
                let table = organization.qualified("mailbox_message")
                let known = try connection.query(
                    "SELECT uid FROM \(table) WHERE mailboxid = $1 AND uid = ANY ($2)", [.uuid(mailbox), .texts(ids)]
                ).map { try $0.decode(0, as: String.self) }
                let total: Int = try connection.query("SELECT count(*) FROM \(table) WHERE mailboxid = $1", [.uuid(mailbox)])[0]
                    .decode(0)
                return (known, total)
            }
        }
    }

    /// Records a router's notes about single messages. An alert names each message that is set aside. A message that is set aside
    /// is due again after 5, 10, 20 … minutes, at most after a day.
    package func noteMessages(_ notes: MailboxNotes, mailbox: UUID, host: String) async throws {
        try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(mailbox, host, for: .reporting, on: connection)
                let table = organization.qualified("mailbox_message")
                if notes.forgetsSeen == true {
                    _ = try connection.query("DELETE FROM \(table) WHERE mailboxid = $1 AND next_attempt IS NULL", [.uuid(mailbox)])
                }
                _ = try connection.query(
                    """
                    INSERT INTO \(table) (mailboxid, uid) SELECT DISTINCT $1::uuid, unnest($2)
                    ON CONFLICT (mailboxid, uid) DO UPDATE SET next_attempt = NULL, reason = NULL WHERE mailbox_message.next_attempt IS NOT NULL
                    """, [.uuid(mailbox), .texts(notes.seen ?? [])])
                // Deletes only rows with a next attempt, so inspected messages of POP3 stay known.
                _ = try connection.query(
                    "DELETE FROM \(table) WHERE mailboxid = $1 AND uid = ANY ($2) AND next_attempt IS NOT NULL",
                    [.uuid(mailbox), .texts(notes.settled ?? [])])
                for message in notes.setAside ?? [] { try setAside(message, mailbox, on: connection) }
            }
        }
    }

    private func setAside(_ message: MailboxNotes.SetAside, _ mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let row = try connection.query(
            """
            INSERT INTO \(organization.qualified("mailbox_message")) AS m (mailboxid, uid, attempts, next_attempt, reason, message_id)
            VALUES ($1, $2, 1, now() + interval '5 minutes', left($3, 500), nullif($4, ''))
            ON CONFLICT (mailboxid, uid) DO UPDATE SET attempts = \(StoredCount("m.attempts").increased()), reason = excluded.reason,
                message_id = coalesce(excluded.message_id, m.message_id),
                next_attempt = now() + least(interval '1 day', interval '5 minutes' * power(2, least(\(StoredCount("m.attempts").value), 10)))
            RETURNING attempts, to_char(next_attempt AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') AS next,
                coalesce(message_id, 'unknown') AS id,
                (SELECT coalesce(emailaddress, name) FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1) AS address
            """,
            [
                .uuid(mailbox), .text(message.uid), .text((message.reason ?? "").cut(to: 500)),
                .text((message.messageId ?? "").cut(to: 320)),
            ])[0]
        let attempts: Int = try row.decode("attempts")
        let id: String = try row.decode("id")
        let address: String = try row.decodeIfPresent("address") ?? ""
        let next: String = try row.decode("next")
        let name = message.name ?? message.uid
        try session.alert(
            .mailbox, mailbox, level: .warning, code: AlertCode.undeliverable,
            text:
                "The message \(name) of \(address) could not be fetched. This does not delay other messages. "
                + "The router tries it again later. If the mail server can't give it at all, move or delete it there.",
            details:
                "\(name), Message-ID \(id), attempt \(attempts), next at \(next): \(message.reason ?? "")",
            on: connection)
    }
}
