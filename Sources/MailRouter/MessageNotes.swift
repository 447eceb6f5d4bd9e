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

    /// Names in one request.
    static let limit = 5_000

    var isEmpty: Bool { seen.isEmpty && setAside.isEmpty && settled.isEmpty && !forgetsSeen }

    /// The requests that tell all of it.
    func parameters(_ mailbox: MailboxLease, _ host: String) -> [[String: Parameter]] {
        var requests: [[String: Parameter]] = []
        for start in stride(from: 0, through: max(0, seen.count - 1), by: Self.limit) {
            var request: [String: Parameter] = [
                "MailboxId": .text(mailbox.mailboxId), "HostId": .text(host),
                "Seen": .list(seen.dropFirst(start).prefix(Self.limit).map(Parameter.text)),
            ]
            if start == 0 {
                request["ForgetsSeen"] = .flag(forgetsSeen)
                request["Settled"] = .list(settled.prefix(Self.limit).map(Parameter.text))
                request["SetAside"] = .list(
                    setAside.prefix(Self.limit).map { message in
                        .object([
                            "Uid": .text(message.uid), "Name": .text(message.name),
                            "Reason": .text(String(message.reason.prefix(500))),
                            "MessageId": .text(message.messageID ?? ""),
                        ])
                    })
            }
            requests.append(request)
        }
        return requests
    }
}
