/// `fieldseal.KnownMessages`: a router asks which messages of a leased mailbox were inspected or set aside before.
package enum KnownMessages {
    /// The router's request. A request without ids only renews the lease.
    package struct Request: Codable, Sendable {
        package var mailboxId: String
        package var hostId: String
        package var ids: [String]?

        package init(mailboxId: String, hostId: String, ids: [String]) {
            (self.mailboxId, self.hostId, self.ids) = (mailboxId, hostId, ids)
        }
    }

    /// The service's response: those of the requested ids whose messages it knows.
    package struct Answer: Codable, Sendable {
        package var value: [String]
        /// How many messages of the mailbox the service knows in total.
        package var total: Int

        package init(value: [String], total: Int) { (self.value, self.total) = (value, total) }
    }
}
