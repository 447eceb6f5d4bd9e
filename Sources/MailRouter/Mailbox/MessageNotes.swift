import RouterProtocol

/// Notes about single messages of a mailbox, gathered until they are sent to the service.
struct MessageNotes {
    /// Messages of POP3 that were inspected.
    var seen: [String] = []
    /// Messages that could not be fetched. These messages are fetched again later, and hold up no other messages.
    var setAside: [(uid: String, name: String, messageID: String?, reason: String)] = []
    /// Messages that are no longer set aside.
    var settled: [String] = []
    /// True if the service has to delete its notes of inspected messages, because most of these messages no longer exist.
    var forgetsSeen = false

    var isEmpty: Bool { seen.isEmpty && setAside.isEmpty && settled.isEmpty && !forgetsSeen }

    /// The requests that send all notes.
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
