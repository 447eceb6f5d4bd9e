/// `fieldseal.TakePendingEmails`: a router takes those e-mails of a leased mailbox that are due to be sent.
package enum PendingEmails {
    /// The router's request.
    package struct Request: Codable, Sendable {
        package var mailboxId: String
        package var hostId: String
        /// How many e-mails are requested at most.
        package var limit: Int

        package init(mailboxId: String, hostId: String, limit: Int) {
            (self.mailboxId, self.hostId, self.limit) = (mailboxId, hostId, limit)
        }
    }

    /// The service's response.
    package struct Answer: Codable, Sendable {
        package var value: [PendingEmail]

        package init(value: [PendingEmail]) { self.value = value }
    }
}
