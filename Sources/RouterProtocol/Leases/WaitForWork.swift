/// `fieldseal.WaitForWork`: a router requests work. The service responds when there is work, or after ``Request/seconds``.
///
/// The request also says that the router is alive, and which mailboxes it watches. Each request lists all watched mailboxes. So if
/// a request is lost, the next request corrects what the service knows.
package enum WaitForWork {
    /// The router's request.
    package struct Request: Codable, Sendable {
        /// The router's name, the same until it ends.
        package var hostId: String
        /// Seconds to wait at most. 0 asks for the present state.
        package var seconds: Int
        /// Whether the router has a free worker. A router without a free worker only asks which connections of watched mailboxes it
        /// must close.
        package var wantsWork: Bool
        /// The mailboxes that the router watches: it waits for new messages on a connection to their mail server.
        package var watching: [Watched]
        /// True if the router is ending. Other routers then poll its mailboxes.
        package var isLeaving: Bool

        package init(
            hostId: String, seconds: Int, wantsWork: Bool = true, watching: [Watched] = [], isLeaving: Bool = false
        ) {
            (self.hostId, self.seconds, self.wantsWork) = (hostId, seconds, wantsWork)
            (self.watching, self.isLeaving) = (watching, isLeaving)
        }
    }

    /// A mailbox that a router watches.
    package struct Watched: Codable, Sendable {
        package var mailboxId: String
        /// The ``MailboxLease/revision`` under which the router signed in.
        package var revision: String

        package init(mailboxId: String, revision: String) { (self.mailboxId, self.revision) = (mailboxId, revision) }
    }

    /// The service's response.
    package struct Answer: Codable, Sendable {
        /// How many mailboxes are due, counted up to ``dueLimit``.
        package var due: Int
        /// Watched mailboxes whose connections the router must close, because their settings or credentials changed, or another
        /// router has them.
        package var ended: [String]

        /// The largest value of ``due``.
        package static let dueLimit = 200

        package init(due: Int, ended: [String]) { (self.due, self.ended) = (due, ended) }
    }
}
