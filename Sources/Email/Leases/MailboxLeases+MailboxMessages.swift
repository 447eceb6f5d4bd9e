public import Foundation
import Model
import PostgresClient
import RouterProtocol
import Tenancy

/// What a router says of single messages of a mailbox.
public struct MailboxNotes: Sendable {
    /// A message that could not be fetched.
    public struct SetAside: Sendable {
        /// Its UID with UIDVALIDITY, or its unique id of POP3.
        public let uid: String
        /// How people are told of it.
        public let name: String
        public let messageID: String
        /// The mail server's words.
        public let reason: String

        public init(uid: String, name: String, messageID: String, reason: String) {
            (self.uid, self.name, self.messageID, self.reason) = (uid, name, messageID, reason)
        }
    }

    /// Messages that were looked at.
    public var seen: [String] = []
    public var setAside: [SetAside] = []
    /// Messages that are not set aside any more.
    public var settled: [String] = []
    /// Whether what was looked at before is forgotten first.
    public var forgetsSeen = false

    public init() {}
}

extension MailboxLeases {
    /// Which messages of a leased mailbox were looked at or set aside before.
    ///
    /// - Returns: Those of `ids`, and how many there are in all.
    public func knownMessages(_ ids: [String], mailbox: UUID, host: String) async throws -> (known: [String], total: Int) {
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

    /// Writes down what a router says of single messages. Each that is set aside is named in an alert, and is due again after 5, 10, 20 …
    /// minutes, a day at most.
    public func noteMessages(_ notes: MailboxNotes, mailbox: UUID, host: String) async throws {
        try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                try session.renewLease(mailbox, host, for: .reporting, on: connection)
                let table = organization.qualified("mailbox_message")
                if notes.forgetsSeen {
                    _ = try connection.query("DELETE FROM \(table) WHERE mailboxid = $1 AND next_attempt IS NULL", [.uuid(mailbox)])
                }
                _ = try connection.query(
                    """
                    INSERT INTO \(table) (mailboxid, uid) SELECT DISTINCT $1::uuid, unnest($2)
                    ON CONFLICT (mailboxid, uid) DO UPDATE SET next_attempt = NULL, reason = NULL WHERE mailbox_message.next_attempt IS NOT NULL
                    """, [.uuid(mailbox), .texts(notes.seen)])
                // Messages of POP3 that were looked at stay known; of others nothing more is to be kept.
                _ = try connection.query(
                    "DELETE FROM \(table) WHERE mailboxid = $1 AND uid = ANY ($2) AND next_attempt IS NOT NULL",
                    [.uuid(mailbox), .texts(notes.settled)])
                for message in notes.setAside { try setAside(message, mailbox, on: connection) }
            }
        }
    }

    private func setAside(_ message: MailboxNotes.SetAside, _ mailbox: UUID, on connection: isolated PostgresConnection) throws {
        let row = try connection.query(
            """
            INSERT INTO \(organization.qualified("mailbox_message")) AS m (mailboxid, uid, attempts, next_attempt, reason, message_id)
            VALUES ($1, $2, 1, now() + interval '5 minutes', left($3, 500), nullif($4, ''))
            ON CONFLICT (mailboxid, uid) DO UPDATE SET attempts = m.attempts + 1, reason = excluded.reason,
                message_id = coalesce(excluded.message_id, m.message_id),
                next_attempt = now() + least(interval '1 day', interval '5 minutes' * power(2, least(m.attempts, 10)))
            RETURNING attempts, to_char(next_attempt AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), coalesce(message_id, 'unknown'),
                (SELECT coalesce(emailaddress, name) FROM \(organization.qualified("mailbox")) WHERE mailboxid = $1)
            """,
            [
                .uuid(mailbox), .text(message.uid), .text(message.reason.cut(to: 500)), .text(message.messageID.cut(to: 320)),
            ])[0]
        let attempts: Int = try row.decode(0)
        let id: String = try row.decode(2)
        let address: String = try row.decodeIfPresent(3) ?? ""
        try session.alert(
            .mailbox, mailbox, level: 2, code: AlertCode.undeliverable,
            text:
                "The message \(message.name) of \(address) could not be fetched; others are not held up. It is tried again later. "
                + "If the mail server can't give it at all, move or delete it there.",
            details:
                "\(message.name), Message-ID \(id), attempt \(attempts), next at \(try row.decode(1, as: String.self)): \(message.reason)",
            on: connection)
    }
}
