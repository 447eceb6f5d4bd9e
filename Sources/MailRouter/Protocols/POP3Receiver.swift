import Crypto
import CurlClient
import Foundation
import Logging
import MailFormat
import RouterProtocol

/// Fetches new messages of a POP3 mailbox. The turn's state says how much of the beginning of the server's list was inspected. The
/// service stores the unique ids of the other inspected messages.
struct POP3Receiver {
    /// How many connections may end during a fetch before the server counts as failed.
    private static let lossLimit = 5

    private let turn: MailboxTurn
    private let delivery: Delivery
    private let signIn: () throws -> POP3Session
    private var session: POP3Session
    private let there: [POP3Session.Listed]
    /// Whether the message at each position in the list needs no inspection.
    private var isKnown: [Bool]
    private let due: Set<String>
    /// Positions of messages that the server deletes when the open session ends.
    private var deleted: Set<Int> = []
    private var losses = 0
    /// The last error after which the fetch continued on a new connection; nil if there was none.
    private(set) var loss: (any Error)?
    private(set) var notes = MessageNotes()

    init(_ turn: MailboxTurn, _ delivery: Delivery, signIn: @escaping () throws -> POP3Session) throws {
        (self.turn, self.delivery, self.signIn) = (turn, delivery, signIn)
        session = try signIn()
        let listing = turn.mailbox.receives ? try session.list() : POP3Session.Listing(messages: [], unnamed: [])
        there = listing.messages
        isKnown = Array(repeating: false, count: there.count)
        if !listing.unnamed.isEmpty { delivery.note(turn.withoutID(listing.unnamed)) }
        due = Set((turn.mailbox.setAside ?? []).prefix(MailboxTurn.retryLimit))
    }

    /// Fetches the messages. ``notes`` is complete even if this function throws.
    mutating func run(_ state: inout MailboxTurn.State) throws {
        guard turn.mailbox.receives else { return try session.close() }
        try learn(state)
        let new = there.indices.filter { !isKnown[$0] }.prefix(turn.configuration.turnLimit)
        let again = due.isEmpty ? [] : there.indices.filter { isKnown[$0] && isDue(there[$0]) }
        // Messages that are due for another attempt but no longer exist are settled.
        if !due.isEmpty { notes.settled += due.subtracting(there.map(\.id)).subtracting(there.map(\.uidl)) }
        for position in new + again where !turn.isStopped() {
            guard !turn.isLong(after: delivery.counts.inspected), !delivery.isFullOfAlerts else {
                delivery.leaveRest()
                break
            }
            guard try fetch(position) else { break }
            try settle()
        }
        try delivery.finish()
        try settle()
        try session.close()
        let ids = there.prefix(isKnown.firstIndex(of: false) ?? there.count).map(\.id)
        state = MailboxTurn.State(known: .init(count: ids.count, digest: Self.digest(ids[...])))
    }

    /// - Returns: False when the server's list has changed, so that the turn can't continue.
    private mutating func fetch(_ position: Int) throws -> Bool {
        let message = there[position]
        do {
            if message.size > turn.configuration.messageLimit {
                delivery.passTooLarge(UInt32(position), message.size, "UIDL \(message.uidl)")
            } else {
                let bytes = try session.fetch(message.number)
                // POP3 gives no time of delivery, so it is read from the message's own headers.
                if let after = turn.receivedAfter, let date = MailMessage.arrival(of: bytes), date < after {
                    delivery.skip(UInt32(position))
                } else {
                    try delivery.enqueue(UInt32(position), bytes, named: "UIDL \(message.uidl)")
                }
            }
            return true
        } catch MailError.refused(let words) {
            setAside(position, words)
            return true
        } catch let error where error is CurlError || error is MailError {
            setAside(position, "the connection ended while it was fetched: \((error as? CurlError)?.reason ?? "\(error)")")
            losses += 1
            loss = error
            guard losses <= Self.lossLimit else { throw error }
            try delivery.finish()
            forgetDeleted()
            session = try signIn()
            let list = try session.list().messages
            return list.map(\.id) == there.map(\.id) && list.map(\.number) == there.map(\.number)
        }
    }

    private mutating func setAside(_ position: Int, _ reason: String) {
        let message = there[position]
        delivery.countFailure()
        if due.contains(message.uidl) { notes.settled.append(message.uidl) }
        notes.setAside.append((message.id, "UIDL \(message.uidl)", nil, reason))
        isKnown[position] = true
        turn.log(.warning, "message set aside", ["uidl": "\(message.uidl)", "error": "\(reason)"])
    }

    private mutating func settle() throws {
        for message in delivery.settled() {
            // POP3 has only one folder, so messages that can't become records stay in it.
            if turn.mailbox.deletesAfterProcessing, message.fate == .recorded {
                try delete(Int(message.source))
            }
            finish(message)
        }
    }

    private mutating func delete(_ position: Int) throws {
        do {
            try session.delete(there[position].number)
            deleted.insert(position)
        } catch MailError.refused(let words) {
            delivery.note(turn.noDeletion(["UIDL \(there[position].uidl)"], words))
        }
    }

    /// Forgets the deletions of a session that did not end with QUIT, because such a session deletes nothing (RFC 1939 section 6).
    /// The next turn inspects these messages again and deletes them. Records of these messages exist already.
    private mutating func forgetDeleted() {
        for message in delivery.settled() {
            if turn.mailbox.deletesAfterProcessing, message.fate == .recorded {
                deleted.insert(Int(message.source))
            } else {
                finish(message)
            }
        }
        for position in deleted { isKnown[position] = false }
        let ids = Set(deleted.map { there[$0].id })
        notes.seen.removeAll { ids.contains($0) }
        deleted = []
    }

    private mutating func finish(_ message: Delivery.Acknowledged) {
        let position = Int(message.source)
        isKnown[position] = true
        notes.seen.append(there[position].id)
        notes.settled += due.intersection([there[position].id, there[position].uidl])
    }

    /// Whether a message that was set aside is due. Earlier versions noted a message without its size.
    private func isDue(_ message: POP3Session.Listed) -> Bool { due.contains(message.id) || due.contains(message.uidl) }

    /// Finds the messages that were inspected before. If the beginning of the list is unchanged, its messages are known without a
    /// request. The service is asked about the other messages.
    private mutating func learn(_ state: MailboxTurn.State) throws {
        let (ids, uidls) = (there.map(\.id), there.map(\.uidl))
        var first = 0
        // Earlier versions of the router computed the digest of unique ids without sizes.
        if let prefix = state.known, (0...ids.count).contains(prefix.count),
            [ids, uidls].contains(where: { Self.digest($0.prefix(prefix.count)) == prefix.digest })
        {
            first = prefix.count
        }
        // Earlier versions of the router stored the unique ids in `ids`, and no digest.
        let listed = Set(state.ids ?? [])
        var seen = listed.isEmpty ? [] : Set(there.filter { listed.contains($0.uidl) }.map(\.id))
        notes.seen += seen
        var total = 0
        // The service is asked about two names of each message: with and without its size. So a request has room for half as many
        // messages as names.
        let limit = MailboxNotes.limit / 2
        for start in stride(from: first, to: ids.count, by: limit) {
            let end = min(start + limit, ids.count)
            let found = try turn.knownMessages(ids[start..<end] + uidls[start..<end])
            let names = Set(found.value)
            let noted = there[start..<end].filter { names.contains($0.uidl) && !names.contains($0.id) }
            notes.seen += noted.filter { !due.contains($0.uidl) }.map(\.id)
            seen.formUnion(names.union(noted.map(\.id)))
            total = found.total
        }
        if !seen.isEmpty { seen.formIntersection(ids) }
        // Most messages that the service remembers no longer exist on the server.
        if first == 0, total > seen.count + 1_000 {
            notes.forgetsSeen = true
            notes.seen = Array(seen)
        }
        for position in ids.indices { isKnown[position] = position < first || seen.contains(ids[position]) }
    }

    private static func digest(_ ids: ArraySlice<String>) -> String {
        Data(SHA256.hash(data: Data(ids.joined(separator: "\n").utf8))).base64EncodedString()
    }
}

extension MailboxTurn {
    /// An alert about messages without a unique id. The alert names the first of these messages.
    fileprivate func withoutID(_ numbers: [Int]) -> MailboxProblem {
        let names =
            numbers.prefix(10).map(String.init).joined(separator: ", ")
            + (numbers.count > 10 ? " and \(numbers.count - 10) more" : "")
        return MailboxProblem(
            AlertCode.undeliverable,
            "The server gives messages of \(mailbox.address) no unique id (UIDL): number \(names). They are not fetched, and stay in the mailbox. Move them to another mailbox, or use IMAP.",
            "no unique id: number \(names)", isPermanent: true)
    }

    fileprivate func knownMessages(_ ids: ArraySlice<String>) throws -> KnownMessages.Answer {
        var answer = KnownMessages.Answer(value: [], total: 0)
        try persistently { answer = try client.known(ids, mailbox, host) }
        return answer
    }
}
