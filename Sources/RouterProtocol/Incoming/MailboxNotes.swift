/// `fieldseal.NoteMessages`: what the service stores for a router about single messages on a mail server.
package struct MailboxNotes: Codable, Sendable {
    package var mailboxId: String
    package var hostId: String
    /// The POP3 unique ids of messages that the router has inspected.
    package var seen: [String]?
    package var setAside: [SetAside]?
    /// Messages that are no longer set aside.
    package var settled: [String]?
    /// True if the service first deletes its earlier notes of inspected messages.
    package var forgetsSeen: Bool?

    package init(mailboxId: String, hostId: String) { (self.mailboxId, self.hostId) = (mailboxId, hostId) }

    /// How many messages each list has at most.
    package static let limit = 5_000

    /// A message that could not be fetched.
    package struct SetAside: Codable, Sendable {
        /// The message's UID with UIDVALIDITY, or its unique id of POP3.
        package var uid: String
        /// The message's name in an alert.
        package var name: String?
        package var messageId: String?
        /// The mail server's response text.
        package var reason: String?

        package init(uid: String, name: String, messageId: String?, reason: String) {
            (self.uid, self.name, self.messageId, self.reason) = (uid, name, messageId, reason)
        }
    }
}
