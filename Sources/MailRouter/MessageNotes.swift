import RouterProtocol

/// What the service keeps of single messages of a mailbox, gathered until it is told.
struct MessageNotes {
    /// Messages of POP3 that were looked at.
    var seen: [String] = []
    /// Messages that could not be fetched: they are fetched again later, and hold up no other.
    var setAside: [(uid: String, name: String, messageID: String?, reason: String)] = []
    /// Messages that are not set aside any more.
    var settled: [String] = []
    /// Whether what was looked at before is forgotten, because most of it is gone.
    var forgetsSeen = false

    var isEmpty: Bool { seen.isEmpty && setAside.isEmpty && settled.isEmpty && !forgetsSeen }

    /// The requests that tell all of it.
    func requests(_ mailbox: MailboxLease, _ host: String) -> [MailboxNotes] {
        let limit = MailboxNotes.limit
        return stride(from: 0, through: max(0, seen.count - 1), by: limit).map { start in
            var request = MailboxNotes(mailboxId: mailbox.mailboxId, hostId: host)
            request.seen = Array(seen.dropFirst(start).prefix(limit))
            guard start == 0 else { return request }
            request.forgetsSeen = forgetsSeen
            request.settled = Array(settled.prefix(limit))
            request.setAside = setAside.prefix(limit).map {
                .init(uid: $0.uid, name: $0.name, messageId: $0.messageID, reason: String($0.reason.prefix(500)))
            }
            return request
        }
    }
}
